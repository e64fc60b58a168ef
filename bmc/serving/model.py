"""A loaded bundle in two steps: from rows to tensors, and from tensors to predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from bmc import batching
from bmc.contracts.tasks import TENSORS
from bmc.errors import BmcError, DataError
from bmc.inputs import Aligned, Arrays, Encoder, Many
from bmc.inputs.text import TextEncoder
from bmc.pipeline import Pipeline
from bmc.precision import PRECISIONS
from bmc.predictions import renumbered
from bmc.serving.batches import Job, Results
from bmc.serving.settings import ServingSettings

# A round is sorted by length: with 8 batches of movie reviews in it, an eighth of the tokens that
# are computed are padding; in batches in the order of arrival, half of them.
_BATCHES_A_ROUND = 8
_ROUND_BYTES = 256e6
# A batch of sorted rows ends early, at a quarter of its size, where the next row would add this
# share of padding to it: 3 % of the tokens are padding then, for batches of 14 rows instead of 32.
_PADDING = 0.05
_LEAST = 4


class ServedModel:
    """Prepares rows of several requests, and computes them in batches of rows of similar length.

    The result of a row is its prediction, or an error that calls the row "row 1": its number among
    the rows of several requests would mean nothing to the client.

    A row is computed alone where the rows of a batch would change its outputs.

    Args:
        pipeline: the loaded bundle.
        settings: rows of a batch, and the longest text.
    """

    def __init__(self, pipeline: Pipeline, settings: ServingSettings) -> None:
        self._pipeline = pipeline
        manifest = pipeline.bundle.manifest
        self._is_single = manifest.task == TENSORS  # rows may differ in shape
        is_alone = self._is_single or PRECISIONS[manifest.precision].rows_share_ranges
        max_batch = pipeline.bundle.manifest.build.get("max_batch", settings.max_batch)
        self._size = 1 if is_alone else min(settings.max_batch, max_batch)
        encoder = pipeline.bundle.encoder
        self._encoder: Encoder = encoder
        if isinstance(encoder, TextEncoder):
            self._encoder = encoder.bounded(settings.max_text)
        fitting = int(_ROUND_BYTES / batching.bytes_of_tensors(pipeline.bundle))
        batches = 1 if isinstance(encoder, Aligned) else _BATCHES_A_ROUND
        self._round_size = max(1, min(batches * self._size, fitting))

    @property
    def round_size(self) -> int:
        """The number of rows that are prepared at once: their tensors fit into 256 MB."""
        return self._round_size

    def jobs(self, rows: list[Any]) -> Iterator[Job]:
        """Prepare rows, and yield the jobs that compute them."""
        encoded, valid, errors = self._encoded(rows)
        if errors:
            yield _failed(errors)
        if not valid:
            return
        if isinstance(self._encoder, Aligned):  # a row may have several parts, in several batches
            yield Job(valid, partial(self._of_parts, rows, encoded, valid))
            return
        lengths = np.asarray(self._encoder.lengths(encoded), np.int64)
        order = np.argsort(lengths, kind="stable")
        for start, stop in batches_of(lengths[order].tolist(), self._size):
            yield from self._batch(rows, encoded, valid, order[start:stop].tolist())

    def _encoded(self, rows: list[Any]) -> tuple[Many, list[int], dict[int, BmcError]]:
        """Encode rows together; return the indices of those that can be, and the others' errors."""
        try:
            return self._encoder.encode(rows), list(range(len(rows))), {}
        except BmcError:
            errors: dict[int, BmcError] = {}
            for index, row in enumerate(rows):
                try:
                    self._encoder.encode([row])
                except BmcError as error:
                    errors[index] = error
            if not errors:  # every row can be encoded alone, but not all rows together
                raise
            valid = [index for index in range(len(rows)) if index not in errors]
            encoded = self._encoder.encode([rows[index] for index in valid]) if valid else []
            return encoded, valid, errors

    def _batch(
        self, rows: list[Any], encoded: Many, valid: list[int], positions: list[int]
    ) -> Iterator[Job]:
        """Yield the job of a batch; files are read now, and those that cannot be have errors.

        Args:
            rows: raw rows of the round.
            encoded: the encoded rows.
            valid: index in `rows` of each encoded row.
            positions: indices in `encoded` of the rows of the batch.
        """
        try:
            arrays = self._encoder.batch(encoded, positions)
        except DataError:
            errors: dict[int, BmcError] = {}
            for position in positions:
                try:
                    self._encoder.batch(encoded, [position])
                except DataError as error:
                    errors[valid[position]] = renumbered(error, 1, position + 1)
            if not errors:
                raise
            yield _failed(errors)
            positions = [each for each in positions if valid[each] not in errors]
            if not positions:
                return
            arrays = self._encoder.batch(encoded, positions)
        indices = [valid[position] for position in positions]
        yield Job(indices, partial(self._computed, rows, encoded, indices, positions, arrays))

    def _computed(
        self,
        rows: list[Any],
        encoded: Many,
        indices: list[int],
        positions: list[int],
        arrays: Arrays,
    ) -> Results:
        """Compute a batch; where that fails, each of its rows alone.

        Args:
            rows: raw rows of the round.
            encoded: encoded rows of the round.
            indices: indices in `rows` of the rows of the batch.
            positions: indices in `encoded` of the same rows.
            arrays: their input tensors.
        """
        try:
            outputs = self._pipeline.run(arrays)
        except Exception as error:  # noqa: BLE001  whatever a runtime raises ends one row alone
            if len(indices) == 1:
                return [(indices[0], error)]
            results: list[tuple[int, Any]] = []
            for index, position in zip(indices, positions, strict=True):
                alone = self._encoder.batch(encoded, [position])
                results += self._computed(rows, encoded, [index], [position], alone)
            return results
        if self._is_single:
            return [(indices[0], outputs)]
        first_output = outputs[self._pipeline.bundle.manifest.outputs[0].name]
        return self._results([rows[index] for index in indices], indices, first_output)

    def _of_parts(self, rows: list[Any], encoded: Many, valid: list[int]) -> Results:
        """Compute rows that have an output for each word; where that fails, each row alone."""
        chosen = [rows[index] for index in valid]
        try:
            return self._results(chosen, valid, self._pipeline.outputs_of(encoded, self._size))
        except Exception as error:  # noqa: BLE001  whatever a runtime raises ends one row alone
            if len(valid) == 1:
                return [(valid[0], error)]
            results: list[tuple[int, Any]] = []
            for index in valid:
                results += self._of_parts(rows, self._encoder.encode([rows[index]]), [index])
            return results

    def _results(self, chosen: Sequence[Any], indices: Sequence[int], outputs: Any) -> Results:
        """Return the prediction of each row, or the error of one whose outputs are not finite."""
        predictions = self._pipeline.predictions(chosen, outputs)
        return [
            (index, _not_finite() if prediction is None else prediction)
            for index, prediction in zip(indices, predictions, strict=True)
        ]


def _failed(errors: dict[int, BmcError]) -> Job:
    """Return the job of rows that have an error already."""
    results = list(errors.items())
    return Job(list(errors), lambda: results, is_computed=False)


def _not_finite() -> DataError:
    return DataError("row 1 has no prediction: the model's outputs for it are NaN or infinite")


def batches_of(lengths: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Cut sorted rows into batches with little padding.

    Args:
        lengths: the lengths of the rows, which rise.
        size: largest number of rows in a batch.

    Yields:
        the first row of each batch, and the row after its last.
    """
    least = max(1, size // _LEAST)
    start = 0
    while start < len(lengths):
        stop = min(start + least, len(lengths))
        total = sum(lengths[start:stop])
        while stop < min(start + size, len(lengths)):
            longer = total + lengths[stop]
            if (stop + 1 - start) * lengths[stop] > (1 + _PADDING) * longer:
                break
            stop, total = stop + 1, longer
        yield start, stop
        start = stop
