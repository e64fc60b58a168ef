"""What a bundle predicts for a row, and how the outputs of a model become predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts import tasks
from bmc.errors import DataError
from bmc.inputs import Encoder
from bmc.inputs.words import WordEncoder


@dataclass(frozen=True)
class Prediction:
    """The prediction of a classifier for one row.

    Args:
        label: the most probable label; None if the row is rejected.
        score: probability of the most probable label, 0 to 1.
        rejected: whether that probability lies below the threshold of the bundle, which was chosen
            by `bmc export --reject-below`, `--reject-rate` or `--accept-accuracy`.
    """

    label: str | None
    score: float
    rejected: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Span:
    """A part of a text that has a label, such as the name of a person.

    Args:
        label: the label.
        score: mean probability of the tags of its words, 0 to 1.
        start: index of the first character in the text, as Python counts them: in code points.
        end: index after the last character.
    """

    label: str
    score: float
    start: int
    end: int


PipelineOutput = (
    Prediction
    | tuple[Prediction, ...]
    | tuple[Span, ...]
    | float
    | NDArray[np.uint8]
    | NDArray[np.float32]
    | dict[str, NDArray[Any]]
)
"""The result for one row: a Prediction for classification (without a label where the bundle rejects
the row), a tuple of them, most probable first, where a row has several labels, a tuple of spans
where words have tags, a number for regression, a vector, float32 (width), for sentence embeddings,
an image, uint8 (height, width, channels), for generation, and the outputs by name for an ONNX file
of another tool."""


def predictions_of(
    outputs: NDArray[np.float32],
    task: str,
    labels: Sequence[str],
    thresholds: Sequence[float] = (),
) -> list[PipelineOutput | None]:
    """Turn a model's outputs into predictions; None for a row with an output that is not finite.

    Args:
        outputs: float32: logits (rows, classes), values (rows, 1), or pixels (rows, channels,
            height, width) in [-1, 1].
        task: name of the task; see `bmc/tasks`. Where words have tags, a row is a word.
        labels: names of the classes.
        thresholds: probability of each label above which it is predicted, where a row has several.
    """
    return tasks.task(task).predictions(outputs, labels, thresholds)


def or_rejected(prediction: PipelineOutput | None, below: float) -> PipelineOutput | None:
    """Return a prediction without its label if its score lies below the threshold."""
    if isinstance(prediction, Prediction) and prediction.score < below:
        return Prediction(None, prediction.score, rejected=True)
    return prediction


def predictions_of_rows(
    predictions: list[Any],
    rows: Sequence[Any],
    encoder: Encoder,
    task: str,
    labels: Sequence[str],
) -> list[Any]:
    """Return the prediction of each row; where words have tags, from those of the row's words.

    Args:
        predictions: prediction of each output; None where an output is not finite.
        rows: raw rows.
        encoder: encoder of the rows.
        task: name of the task; see `bmc/tasks`.
        labels: names of the labels.
    """
    of_words = tasks.task(task).of_words
    if of_words is None or not isinstance(encoder, WordEncoder):
        return predictions
    remaining = iter(predictions)
    results = []
    for number, row in enumerate(rows, start=1):
        words = encoder.words_of(row, number)
        of_row = list(islice(remaining, len(words.words)))
        results.append(None if None in of_row else of_words(words, of_row, labels))
    return results


def renumbered(error: DataError, number: int, before: int = 1) -> DataError:
    """Return the error of a row with another number of the row, in the same class.

    Args:
        error: the error.
        number: the row's number in the new error.
        before: the row's number in `error`; a row that was encoded alone is row 1.
    """
    kind, _, rest = str(error).partition(f" {before}")
    if kind in ("row", "series", "text", "image", "clip") and not rest[:1].isdigit():
        return type(error)(f"{kind} {number}{rest}")
    return type(error)(f"row {number}: {error}")
