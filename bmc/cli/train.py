"""bmc train"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from bmc import console, workspace, writing
from bmc.cli import _shown
from bmc.cli._common import Answer, DataOptions, Writing, pairs_of
from bmc.data import Fold
from bmc.errors import UsageError
from bmc.measure import scores
from bmc.training.settings import TrainingSettings
from bmc.workflows import baselines, scoring
from bmc.workflows.outputs import forget_checkpoints


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
    options = _options(set_, max_length)
    chosen = baselines.choose(model, options)
    own = {field.name for field in fields(TrainingSettings)}
    typed = {name: value for name, value in given.items() if name in own and value is not None}
    settings = replace(chosen.recipe, **typed)
    if folds:
        return _cross_validate(chosen, source, settings, folds, common)
    data = source.load()
    output = common.output or workspace.root() / f"{workspace.slug(model)}-{data.name}"
    made = baselines.train_baseline(chosen, data, source, settings, output, common.force)
    return Answer(
        {"output": str(output), "scores": made.scores, "seconds": made.origin["seconds"]},
        (
            f"wrote {output}: {_shown.chosen_by(made.scores, len(data.validation))}",
            *_shown.validation(made.scores, made.labels),
            _shown.next_export(output, baselines.code_of(made)),
        ),
    )


def _cross_validate(
    chosen: baselines.Chosen,
    source: DataOptions,
    settings: TrainingSettings,
    folds: int,
    common: Writing,
) -> Answer:
    """Train once for each held-out part; every row is scored by a model that never saw it."""
    if common.output:
        raise UsageError("--folds writes no model, so there is no --output; train without it")
    if hasattr(chosen.family, "train"):  # a generator's
        raise UsageError(f"{chosen.reference} has no held-out score to fold: leave --folds out")
    found: list[float] = []
    answers: list[NDArray[np.float32]] = []
    truth: list[NDArray[Any]] = []
    labels: tuple[str, ...] = ()
    measure = "r2" if source.task == "regression" else "accuracy"
    for number in range(1, folds + 1):
        data = replace(source, fold=Fold(number, folds)).load()
        name = f"{workspace.slug(chosen.reference)}-{data.name}-fold{number}"
        writing.hold(workspace.root() / name)
        checkpoints = workspace.checkpoints_of(workspace.root() / name)
        model = baselines.trained(chosen, data, settings, checkpoints)
        answers.append(scoring.outputs_on(model, data.test))
        truth.append(np.array(data.test.labels))
        labels = data.labels
        found.append(scores.of_task(source.task, answers[-1], truth[-1])[measure]["value"])
        console.note(f"fold {number} of {folds}: held-out score {found[-1]:.4f}")
        forget_checkpoints(checkpoints)
    mean, spread = float(np.mean(found)), float(np.std(found, ddof=1))
    what = "R2" if source.task == "regression" else "accuracy"
    pooled = scores.of_task(source.task, np.concatenate(answers), np.concatenate(truth))
    return Answer(
        {"folds": found, "mean": mean, "standard_deviation": spread, "pooled": pooled},
        (
            f"{folds} folds: held-out {what} {mean:.4f}, standard deviation {spread:.4f}",
            *_shown.by_class(pooled, labels, "held-out, all folds:"),
        ),
    )


def _options(pairs: tuple[str, ...], max_length: int | None) -> dict[str, str]:
    options = pairs_of(pairs)
    if max_length is not None:
        options["max_length"] = str(max_length)
    return options
