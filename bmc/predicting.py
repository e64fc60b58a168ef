"""Predict for many rows, window by window: each row gets its prediction, or its error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.bundle import Bundle
from bmc.contracts import tasks
from bmc.errors import ArtifactError, BmcError, DataError
from bmc.predictions import (
    PipelineOutput,
    or_rejected,
    predictions_of,
    predictions_of_rows,
    renumbered,
)

if TYPE_CHECKING:
    from bmc.pipeline import Pipeline


def of_windows(
    pipeline: Pipeline, windows: Iterator[list[Any]], strict: bool, batch_size: int
) -> Iterator[Any]:
    """Predict for the rows of one window after the other.

    Args:
        pipeline: the loaded bundle.
        windows: lists of raw rows, each small enough for memory.
        strict: raise the first error; otherwise it takes the place of its row's prediction.
        batch_size: rows in a batch.

    Raises:
        BmcError: a row has no prediction, and `strict` is set; the message counts rows from 1.
    """
    first = 1
    for window in windows:
        if pipeline.bundle.manifest.task == tasks.TENSORS:
            yield from _tensors_of(pipeline, window, first, strict)
        else:
            yield from _of_window(pipeline, window, first, strict, batch_size)
        first += len(window)


def of_outputs(
    bundle: Bundle, rows: Sequence[Any], outputs: NDArray[np.float32]
) -> list[PipelineOutput | None]:
    """Turn a model's outputs into predictions of rows; None where one is not finite.

    Args:
        bundle: the model's bundle.
        rows: raw rows.
        outputs: their outputs; see `Pipeline.outputs`.
    """
    manifest = bundle.manifest
    predictions = predictions_of(outputs, manifest.task, manifest.labels, manifest.thresholds)
    if manifest.reject_below is not None:
        predictions = [or_rejected(each, manifest.reject_below) for each in predictions]
    return predictions_of_rows(predictions, rows, bundle.encoder, manifest.task, manifest.labels)


def not_finite(bundle: Bundle, row: str) -> ArtifactError:
    """Return the error of a row whose outputs are NaN or infinite; `row` names it."""
    return ArtifactError(
        f"bundle {bundle.path}: the outputs for {row} are NaN or infinite; "
        f"bmc check {bundle.path} says whether it is damaged"
    )


def _tensors_of(pipeline: Pipeline, rows: list[Any], first: int, strict: bool) -> list[Any]:
    """Return all outputs of each row of a window, or the row's error."""
    errors_by_index = _bad_rows(pipeline.bundle, rows, first, strict)
    tensors: list[Any] = []
    for index, row in enumerate(rows):
        try:
            tensors.append(errors_by_index.get(index) or pipeline.tensors(row))
        except ArtifactError as error:
            tensors.append(_of_row(error, first + index))
            if strict:
                raise tensors[-1] from error
    return tensors


def _of_window(
    pipeline: Pipeline, rows: list[Any], first: int, strict: bool, batch_size: int
) -> list[PipelineOutput | BmcError]:
    """Predict for the rows of a window; a row without a prediction gets its error.

    Args:
        pipeline: the loaded bundle.
        rows: raw rows.
        first: number of the first row, for messages.
        strict: raise the first error.
        batch_size: rows in a batch.

    Raises:
        BmcError: a row has no prediction, and `strict` is set.
    """
    errors_by_index: dict[int, BmcError] = {}
    bundle, rows_of_outputs = pipeline.bundle, rows
    try:
        try:
            outputs = pipeline.outputs(rows, batch_size)
        except DataError:
            errors_by_index = _bad_rows(bundle, rows, first, strict)
            if not errors_by_index:  # every row can be encoded alone, but not all together
                raise
            rows_of_outputs = [
                row for index, row in enumerate(rows) if index not in errors_by_index
            ]
            outputs = np.empty((0, 1), np.float32)
            if rows_of_outputs:
                outputs = pipeline.outputs(rows_of_outputs, batch_size)
    except ArtifactError:
        rows_of_outputs, outputs, errors_by_index = _computed_alone(pipeline, rows, first, strict)
    predictions = iter(of_outputs(bundle, rows_of_outputs, outputs) if len(outputs) else [])
    results: list[PipelineOutput | BmcError] = []
    for index in range(len(rows)):
        prediction = errors_by_index.get(index) or next(predictions)
        if prediction is None:
            prediction = not_finite(bundle, f"row {first + index}")
            if strict:
                raise prediction
        results.append(prediction)
    return results


def _computed_alone(
    pipeline: Pipeline, rows: list[Any], first: int, strict: bool
) -> tuple[list[Any], NDArray[np.float32], dict[int, BmcError]]:
    """Compute each row by itself, where the runtime refuses them together.

    Returns:
        the rows that have outputs, these outputs, and the errors of the other rows by index.

    Raises:
        BmcError: a row is refused alone, and `strict` is set.
    """
    computed: list[Any] = []
    parts = [np.empty((0, 1), np.float32)]
    errors_by_index: dict[int, BmcError] = {}
    for index, row in enumerate(rows):
        try:
            part = pipeline.outputs([row], 1)
        except (ArtifactError, DataError) as error:
            errors_by_index[index] = _of_row(error, first + index)
            if strict:
                raise errors_by_index[index] from error
        else:
            computed.append(row)
            parts.append(part)
    return computed, np.concatenate(parts[1:] or parts), errors_by_index


def _of_row(error: ArtifactError | DataError, number: int) -> BmcError:
    """Return the error of a row that was computed alone, with its number."""
    if isinstance(error, DataError):
        return renumbered(error, number)
    return ArtifactError(f"row {number}: {error}")


def _bad_rows(bundle: Bundle, rows: list[Any], first: int, strict: bool) -> dict[int, BmcError]:
    """Return the errors of the rows that cannot be encoded alone, by index."""
    encoder, errors_by_index = bundle.encoder, dict[int, BmcError]()
    for index, row in enumerate(rows):
        try:
            encoder.batch(encoder.encode([row]), [0])
        except DataError as error:
            errors_by_index[index] = renumbered(error, first + index)
            if strict:
                raise errors_by_index[index] from error
    return errors_by_index
