"""Train a baseline on labeled data, or cross-validate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console, workspace, writing
from bmc.contracts import tasks
from bmc.data import Fold
from bmc.errors import UsageError
from bmc.measure import scores
from bmc.training.augment import refuse_untaught
from bmc.workflows import baselines, scoring, vectors
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.outputs import forget_checkpoints
from bmc.workflows.results import CrossValidated, Trained


def train(
    reference: str,
    source: DataSource,
    options: Mapping[str, Any],
    recipe: Mapping[str, Any],
    files: Output = Output(),
) -> Trained:
    """Train a baseline and write its model directory.

    A run that was stopped resumes from its last checkpoint when this function is called again with
    the same arguments.

    Args:
        reference: the name of a built-in model, a Hugging Face folder, hf:NAME, timm:NAME, or
            python:module:function.
        source: the data.
        options: settings of the baseline, by name, such as width; see its family's `Settings`.
        recipe: fields of `TrainingSettings` that differ from the baseline's recipe.
        files: output folder; the default is MODEL-DATA in the workspace.

    Raises:
        UnknownError: there is no such baseline or data set.
        DataError: the baseline is for another kind of data, or the data cannot be used.
        UsageError: a setting needs a teacher.
        DivergedError: the loss became NaN or infinite.
    """
    chosen = baselines.choose(reference, options)
    # Wrong settings are refused before the data is read.
    refuse_untaught(replace(chosen.recipe, **recipe).augment)
    if source.task == tasks.EMBEDDING:
        vectors.refuse_training(recipe, reference)
    data = source.load()
    settings = replace(chosen.recipe_for(data), **recipe)
    output = files.output or workspace.root() / f"{workspace.slug(reference)}-{data.name}"
    model = baselines.train_baseline(chosen, data, source, settings, output, files.force)
    return Trained(
        path=output,
        scores=model.scores,
        labels=model.labels,
        seconds=model.origin["seconds"],
        code=baselines.code_of(model),
        validation_rows=len(data.validation),
    )


def cross_validate(
    reference: str,
    source: DataSource,
    options: Mapping[str, Any],
    recipe: Mapping[str, Any],
    files: Output,
    folds: int,
) -> CrossValidated:
    """Cross-validate a baseline: train once per fold, and score the rows held out by the fold.

    No model is written.

    Args:
        reference: a baseline; see `train`.
        source: the data; its `fold` is ignored.
        options: settings of the baseline; see `train`.
        recipe: settings of the training; see `train`.
        files: must not name an output folder.
        folds: number of folds.

    Raises:
        UsageError: an output folder is named, a setting needs a teacher, or the baseline is a
            generator, which has no held-out score.
    """
    if files.output:
        raise UsageError("--folds writes no model, so there is no --output; train without it")
    chosen = baselines.choose(reference, options)
    # Wrong settings are refused before the data is read.
    refuse_untaught(replace(chosen.recipe, **recipe).augment)
    if source.task == tasks.EMBEDDING:
        raise UsageError(
            f"--folds {folds}: {reference} is not trained for --task embedding, so there is "
            "nothing to cross-validate: leave --folds out"
        )
    if chosen.network.train is not None:  # a generator's
        raise UsageError(f"{reference} has no held-out score to fold: leave --folds out")
    by_fold: list[float] = []
    every_checkpoint = []
    outputs: list[NDArray[np.float32]] = []
    truth: list[NDArray[Any]] = []
    thresholds: list[NDArray[Any]] = []  # of each row: folds have thresholds of their own
    labels: tuple[str, ...] = ()
    for number in range(1, folds + 1):
        data = replace(source, fold=Fold(number, folds)).load()
        name = f"{workspace.slug(reference)}-{data.name}-fold{number}"
        writing.hold(workspace.root() / name)
        checkpoints = workspace.checkpoints_of(workspace.root() / name)
        settings = replace(chosen.recipe_for(data), **recipe)
        model = baselines.trained(chosen, data, settings, checkpoints)
        held_out = scoring.outputs_on(model, data.test)
        outputs.append(held_out)
        truth.append(np.array(data.test.labels))
        thresholds.append(np.tile(np.array(model.thresholds), (len(held_out), 1)))
        labels = data.labels
        scored = scores.of_task(
            *(source.task, held_out, truth[-1]), thresholds=model.thresholds, names=labels
        )
        score = scored[tasks.scoring(source.task, labels).measure]["value"]
        by_fold.append(score)
        console.note(f"fold {number} of {folds}: held-out score {score:.4f}")
        every_checkpoint.append(checkpoints)
    for checkpoints in every_checkpoint:  # the last one resumes all folds of a stopped command
        forget_checkpoints(checkpoints)
    return CrossValidated(
        scores=tuple(by_fold),
        mean=float(np.mean(by_fold)),
        standard_deviation=float(np.std(by_fold, ddof=1)),
        pooled=scores.of_task(
            *(source.task, np.concatenate(outputs), np.concatenate(truth)),
            thresholds=np.concatenate(thresholds),
            names=labels,
        ),
        labels=labels,
        measure=tasks.scoring(source.task, labels).title,
    )
