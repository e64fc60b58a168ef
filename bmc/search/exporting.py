"""Export a candidate and score it on validation rows: the test split is not read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import console
from bmc.contracts.tasks import objective, task
from bmc.data import Dataset, Examples
from bmc.errors import UsageError
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.measure import scores
from bmc.model import Model
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.training.custom import custom_score, measure_of
from bmc.writing import new_folder

_UNCHECKED = flow.Verified({}, {}, None, None)


@dataclass(frozen=True)
class Scored:
    """A bundle's score and size.

    Args:
        score: accuracy of the validation rows, or what the task counts instead.
        bytes: size of the model's file.
        failure: how the bundle differs too much from PyTorch; "" where it does not.
        outputs: its outputs for the validation rows.
    """

    score: float
    bytes: int
    failure: str
    outputs: NDArray[np.float32] = field(compare=False, repr=False)


def without_test(data: Dataset) -> Dataset:
    """Return a data set whose test split is empty, so that nothing can be chosen by it."""
    return replace(data, test=Examples((), ()))


def export_and_score(
    folder: Path, data: Dataset, target: str, output: Path, compared: int
) -> Scored:
    """Write a bundle of a model for measurements, and score the bundle on the validation rows.

    The bundle holds no test scores, and is neither timed against fp32 nor refused where its outputs
    differ from PyTorch's: a network that was hardly trained changes its mind at rounding errors.

    Args:
        folder: the model directory.
        data: the data of the model, without its test split.
        target: name of the target.
        output: folder to write; an earlier bundle there is replaced.
        compared: rows, at most, whose outputs are compared with PyTorch's; they are evenly spaced.

    Raises:
        UsageError: the target cannot execute the model.
    """
    if len(data.test):
        raise UsageError("a search scores validation rows; the test split must be removed first")
    validation = data.validation
    spaced = replace(data, test=validation.spaced(compared))
    with source_of(folder, spaced, ExportOptions(allow_slower=True)) as source:
        source.check(target)
        with new_folder(output, force=True) as temporary:
            draft = flow.write(source, target, temporary)
            failure = flow.verify(draft).failure or ""
            flow.publish(draft, _UNCHECKED, flow.Timed())
        model = source.model
    outputs = outputs_of(output, validation)
    score = score_of(model, outputs, validation)
    return Scored(score, bundles.read(output).model_size(), failure, outputs)


def outputs_of(bundle: Path, examples: Examples) -> NDArray[np.float32]:
    """Return a bundle's outputs for rows.

    Args:
        bundle: folder of the bundle.
        examples: the rows.
    """
    with (
        Pipeline(flow.as_runnable(bundles.read(bundle)), RuntimeOptions()) as pipeline,
        console.progress("scoring", len(examples)) as advance,
    ):
        return pipeline.outputs(examples.rows, advance=advance)


def score_of(model: Model, outputs: NDArray[np.float32], examples: Examples) -> float:
    """Return the score of a bundle's outputs: accuracy, or what the task counts instead.

    Args:
        model: the model that the bundle was made of.
        outputs: the bundle's outputs for the rows.
        examples: the rows.
    """
    all_scores = scores.of_task(
        *(model.task, outputs, np.array(examples.labels), custom_score(model), model.thresholds),
        names=model.labels,
    )
    score = all_scores[measure_of(model)]
    return float(score["value"] if isinstance(score, dict) else score)


def is_paired(model: Model) -> bool:
    """Tell whether the loss of a model's score has a paired interval.

    A custom score, and one that depends on thresholds, has none.

    Args:
        model: the model.
    """
    return custom_score(model) is None and not task(model.task).thresholds


def points_lost(
    model: Model,
    outputs: NDArray[np.float32],
    reference: NDArray[np.float32],
    examples: Examples,
) -> scores.Interval:
    """Return how many points of the score are lost, with a paired interval.

    Args:
        model: the model that was compressed.
        outputs: outputs of the compressed bundle for the rows.
        reference: outputs of the uncompressed model's bundle.
        examples: the rows.
    """
    labels = np.array(examples.labels)
    lost = scores.lost(model.task, outputs, reference, labels, model.labels)
    return scores.Interval(100 * lost.value, 100 * lost.low, 100 * lost.high)


def divergence(
    model: Model, outputs: NDArray[np.float32], reference: NDArray[np.float32]
) -> float | None:
    """Return the mean divergence of a bundle's outputs from the uncompressed model's.

    Args:
        model: the model that was compressed.
        outputs: outputs of the compressed bundle.
        reference: outputs of the uncompressed model's bundle.

    Returns:
        of classes, the mean KL divergence; None where it is not finite.
    """
    pair = torch.from_numpy(outputs), torch.from_numpy(reference)
    mean = float(objective(model.task).divergence(*pair).mean())
    return mean if math.isfinite(mean) else None
