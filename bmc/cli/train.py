"""bmc train"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

from cyclopts import Parameter

from bmc.cli import _shown
from bmc.cli._common import Answer, DataOptions, Writing, pairs_of
from bmc.errors import UsageError
from bmc.training.settings import TrainingSettings
from bmc.workflows import train as workflow
from bmc.workflows.results import CrossValidated, Trained


def train(
    model: str = "bert",
    *,
    source: DataOptions = DataOptions(),  # noqa: B008  frozen
    set_: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"])] = (),
    epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    optimizer: str | None = None,
    momentum: float | None = None,
    schedule: str | None = None,
    warmup: float | None = None,
    weight_decay: float | None = None,
    l1: float | None = None,
    clip: float | None = None,
    label_smoothing: float | None = None,
    auxiliary_weight: float | None = None,
    class_weights: str | None = None,
    initialisation: str | None = None,
    augment: tuple[str, ...] | None = None,
    patience: int | None = None,
    max_length: int | None = None,
    folds: int = 0,
    precision: str | None = None,
    checkpoint_every: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Train or fine-tune a baseline on labelled data.

    What is left out is taken from the baseline's own recipe. Writes a model directory; one of a
    Hugging Face family stays a valid Hugging Face folder. A stopped or killed run goes on from its
    last checkpoint when the same command is typed again.

    Args:
        model: a baseline's name (bmc models lists all), a local Hugging Face folder,
            hf:org/name@revision, timm:NAME, or python:module:function (runs your code).
        set_: a setting of the baseline, NAME=VALUE, such as width=256; several are possible.
        epochs: passes over the training rows; the best by validation score is kept.
        learning_rate: peak of the schedule.
        batch_size: rows a step, of like length; with --batch-tokens, the most rows.
        batch_tokens: time steps a step, padding included, instead of a number of rows.
        optimizer: adamw, adam, or sgd.
        momentum: of sgd.
        schedule: linear, cosine, exponential, step, or fixed.
        warmup: share of the steps in which the rate rises from zero.
        weight_decay: L2 regularisation.
        l1: L1 regularisation.
        clip: largest norm of the gradient.
        label_smoothing: share of the target that is spread over all classes.
        auxiliary_weight: of the losses of a network's answers but the first, such as 0.3.
        class_weights: none, or balanced: rare classes weigh more.
        initialisation: of fresh weights: default, normal, xavier, or he.
        augment: crop, flip, cutout (images), word-drop (text).
        patience: epochs without a better score after which training ends.
        max_length: tokens of a text, or steps of a series, at most.
        folds: train on each part of a k-fold cross-validation, and show mean and spread.
        precision: bf16, fp32, or auto (bf16 where the processor has it).
        checkpoint_every: steps between two checkpoints.
        seed: of fresh weights, batches and dropout.
        device: cpu, cuda, or auto.
    """
    given = dict(locals())
    common.begin()
    known = {field.name for field in fields(TrainingSettings)}
    recipe = {name: value for name, value in given.items() if name in known and value is not None}
    options = pairs_of(set_)
    if max_length is not None:
        options["max_length"] = str(max_length)
    if not folds:
        return _trained(workflow.train(model, source, options, recipe, common.output, common.force))
    if common.output:
        raise UsageError("--folds writes no model, so there is no --output; train without it")
    return _cross_validated(workflow.cross_validate(model, source, options, recipe, folds))


def _trained(made: Trained) -> Answer:
    return Answer(
        {"output": str(made.path), "scores": made.scores, "seconds": made.seconds},
        (
            f"wrote {made.path}: {_shown.chosen_by(made.scores, made.validation_rows)}",
            *_shown.validation(made.scores, made.labels),
            _shown.next_export(made.path, made.code),
        ),
    )


def _cross_validated(result: CrossValidated) -> Answer:
    return Answer(
        {
            "folds": list(result.scores),
            "mean": result.mean,
            "standard_deviation": result.standard_deviation,
            "pooled": result.pooled,
        },
        (
            f"{len(result.scores)} folds: held-out {result.measure} {result.mean:.4f}, "
            f"standard deviation {result.standard_deviation:.4f}",
            *_shown.by_class(result.pooled, result.labels, "held-out, all folds:"),
        ),
    )
