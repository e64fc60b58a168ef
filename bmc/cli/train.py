"""bmc train"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import typer

from bmc.cli import _complete
from bmc.cli.choices import Choice
from bmc.cli.options import (
    DATA,
    MODEL,
    TRAINING,
    Answer,
    CodedWriting,
    DataOptions,
    Device,
    Precision,
    pairs_of,
)
from bmc.errors import UsageError
from bmc.training.settings import (
    AUGMENTATIONS,
    CLASS_WEIGHTS,
    INITIALISATIONS,
    OPTIMIZERS,
    SCHEDULES,
)


@dataclass(frozen=True)
class Recipe:
    """Settings of the training; the baseline's own recipe has the values of those left out.

    Args:
        epochs: passes over the training rows; the best epoch by validation score is kept.
        learning_rate: peak learning rate of the schedule.
        batch_size: rows per step; with --batch-tokens, rows per step at most.
        batch_tokens: tokens or time steps per step, padding included, instead of --batch-size.
        optimizer: optimizer.
        momentum: momentum of sgd.
        schedule: learning rate schedule after the warm-up.
        warmup: fraction of all steps in which the learning rate rises from zero.
        weight_decay: weight decay (L2 regularization).
        l1: weight of the L1 regularization.
        clip: maximum gradient norm.
        label_smoothing: label smoothing, from 0 to 1.
        auxiliary_weight: weight of the losses of auxiliary outputs, such as 0.3.
        class_weights: balanced weights the loss of a class by the inverse of its frequency.
        initialisation: initialization of new weights.
        augment: augmentation: crop, flip and cutout for images, word-drop for text; several are
            possible.
        patience: early stopping after this number of epochs without a better score; 0 for never.
        precision: auto is bf16 where the processor supports it.
        checkpoint_every: steps between two checkpoints.
        seed: random seed of new weights, batches and dropout.
        device: auto is cuda where there is a GPU.
    """

    PANEL: ClassVar[str] = TRAINING

    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    batch_tokens: int | None = None
    optimizer: Annotated[str | None, Choice("optimizer", OPTIMIZERS)] = None
    momentum: float | None = None
    schedule: Annotated[str | None, Choice("schedule", SCHEDULES)] = None
    warmup: float | None = None
    weight_decay: float | None = None
    l1: float | None = None
    clip: float | None = None
    label_smoothing: float | None = None
    auxiliary_weight: float | None = None
    class_weights: Annotated[str | None, Choice("class weighting", CLASS_WEIGHTS)] = None
    initialisation: Annotated[str | None, Choice("initialisation", INITIALISATIONS)] = None
    augment: Annotated[
        tuple[str, ...] | None,
        Choice("augmentation", AUGMENTATIONS, commas=True),
        typer.Option("--augment", rich_help_panel=DATA),
    ] = None
    patience: int | None = None
    precision: Precision = None
    checkpoint_every: int | None = None
    seed: int | None = None
    device: Device = None


def train(
    model: Annotated[str, typer.Argument(autocompletion=_complete.baselines)] = "bert",
    *,
    set_: Annotated[
        tuple[str, ...],
        typer.Option(
            *("--set", "-s"),
            metavar="NAME=VALUE",
            rich_help_panel=MODEL,
            autocompletion=_complete.settings,
        ),
    ] = (),
    max_length: Annotated[int | None, typer.Option("--max-length", rich_help_panel=MODEL)] = None,
    source: DataOptions = DataOptions(),
    folds: Annotated[int, typer.Option("--folds", rich_help_panel=DATA)] = 0,
    recipe: Recipe = Recipe(),
    common: CodedWriting = CodedWriting(),
) -> Answer:
    """Train or fine-tune a baseline on labelled data.

    Options left out take their values from the baseline's own recipe. The command writes a model
    directory, for BERT and MPNet also a valid Hugging Face folder. A run that was stopped or killed
    resumes from its last checkpoint when the same command is typed again.

    Args:
        model: a baseline's name (bmc models lists all), a local Hugging Face folder,
            hf:org/name@revision, timm:NAME, or python:module:function (runs your code).
        set_: a setting of the baseline, such as width=256; several are possible.
        max_length: tokens of a text, or time steps of a series, at most; the rest is cut.
        folds: run a k-fold cross-validation and show mean and standard deviation; 0 for none.

    Example:
        bmc train bert --data reviews.csv --text-column body --label-column stars
        bmc train mlp --data digits --set width=256 --epochs 20
    """
    from bmc.cli.shown import models as shown
    from bmc.workflows import train as workflow

    common.begin()
    settings = {name: value for name, value in asdict(recipe).items() if value is not None}
    options = pairs_of(set_)
    if max_length is not None:
        options["max_length"] = str(max_length)
    output, force = common.output, common.force
    if not folds:
        return shown.trained(
            workflow.train(model, source.source(), options, settings, output, force)
        )
    if output:
        raise UsageError("--folds writes no model, so there is no --output; train without it")
    return shown.cross_validated(
        workflow.cross_validate(model, source.source(), options, settings, folds)
    )
