"""Parity of an ONNX file's bundle: compare every output with the original file's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.export.tensor_entries import NOT_VARYING, Entries, EntrySums
from bmc.onnx_models.values import is_value

Arrays = Mapping[str, NDArray[Any]]
_SMALLEST_SCALE = 1e-3
_TABLE = 2  # axes
_FEW_COLUMNS = 16  # a matrix of so many columns may hold quantities that must each be right
_MOST_ENTRIES = 1 << 16
_INSIDE = 0.5  # probability from which a pixel lies inside a mask


@dataclass(frozen=True)
class OutputParity:
    """Differences of one output on all samples.

    Args:
        values: number of compared values.
        max_error: largest change of a value; infinite where a value became NaN or infinite.
        mean_error: mean change of a value.
        cosine: cosine similarity of all values together.
        agreement: share of rows with the same largest value along the last axis, where the output
            holds logits; share of equal values, where it holds integers; intersection over union of
            the values above 0.5, where it is a mask; otherwise None.
        rows: number of rows, integers, or values of the union, that the agreement counts.
        scale: largest absolute value of the original output.
        exact: whether the output holds integers, whose size of a change means nothing.
        unexplained: squared errors over the squared distances of the original values from their
            mean; 1 for a constant answer; None where the original values are all the same.
        is_mask: whether the output is a mask, whose edges change from 0 to 1.
        is_probability: whether a softmax or a sigmoid computes the output.
        not_finite: number of the original values that are NaN or infinite.
        answers: number of different largest values among the rows, where the output holds logits.
        entries: entries along an axis that larger ones hide; None where there are none, or the
            size of the axes varies.
        root_mean_square: root of the mean squared error.
        is_table: whether the output has two axes, and few columns.
        other_shapes: number of calls in which the output has another shape; their values are not
            compared.
    """

    values: int
    max_error: float
    mean_error: float
    cosine: float
    agreement: float | None
    rows: int
    scale: float
    exact: bool = False
    unexplained: float | None = None
    is_mask: bool = False
    is_probability: bool = False
    not_finite: int = 0
    answers: int = 0
    entries: Entries | None = None
    root_mean_square: float = 0.0
    is_table: bool = False
    other_shapes: int = 0


class Comparison:
    """Compare outputs call by call; the outputs of all calls are never in memory together.

    Args:
        logits: names of the outputs that hold logits.
        masks: names of the outputs that are masks.
        probabilities: names of the outputs that a softmax or a sigmoid computes.
    """

    def __init__(
        self,
        logits: Collection[str],
        masks: Collection[str] = (),
        probabilities: Collection[str] = (),
    ) -> None:
        self._kinds = logits, masks, probabilities
        self._sums: dict[str, _Sums] = {}

    def add(self, outputs: Arrays, expected: Arrays) -> None:
        """Compare the outputs of a call with the original file's."""
        for name, values in expected.items():
            if name not in self._sums:
                self._sums[name] = _Sums(*(name in names for names in self._kinds))
            self._sums[name].add(outputs[name], values)

    def outputs(self) -> dict[str, OutputParity]:
        """Return the differences of each output so far."""
        return {name: sums.parity() for name, sums in self._sums.items()}


class _Sums:
    def __init__(self, are_logits: bool, is_mask: bool, is_probability: bool) -> None:
        self.are_logits, self.is_mask, self.is_probability = are_logits, is_mask, is_probability
        self.is_exact = self.is_table = False
        self.answers: set[int] = set()
        self.entries: dict[int, EntrySums] | None = None
        self.not_finite = self.other_shapes = 0
        self.values = self.rows = self.same = 0
        self.max_error = self.total = self.scale = 0.0
        self.dot = self.norm = self.expected_norm = 0.0
        self.squares = self.expected_sum = 0.0

    def add(self, values: NDArray[Any], expected: NDArray[Any]) -> None:
        self.is_exact = expected.dtype.kind in "biu"
        if values.shape != expected.shape:
            self.other_shapes += 1
            self.scale = max(self.scale, _largest(expected))
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                self.max_error = float("inf")
            return
        if self.is_exact:
            self.rows += expected.size
            self.same += int((values == expected).sum())
        elif self.are_logits and expected.ndim and expected.shape[-1] > 1 and expected.size:
            answers = expected.argmax(axis=-1)
            is_known = ~np.isnan(expected).any(axis=-1)
            self.rows += int(is_known.sum())
            self.same += int((values.argmax(axis=-1) == answers)[is_known].sum())
            self.answers.update(np.unique(answers[is_known]).tolist())
        elif self.is_mask:
            masks = values > _INSIDE, expected > _INSIDE
            self.rows += int((masks[0] | masks[1]).sum())
            self.same += int((masks[0] & masks[1]).sum())
        actual, wanted = values.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(wanted) if self.is_exact else is_value(actual, wanted)
        self.not_finite += int(wanted.size - np.isfinite(wanted).sum())
        if not np.array_equal(actual[~finite], wanted[~finite], equal_nan=True):
            self.max_error = float("inf")
        if not np.isfinite(actual[finite]).all():
            self.max_error = float("inf")
            return
        if not self.is_exact:
            self._add_entries(actual, wanted, finite)
        actual, wanted = actual[finite], wanted[finite]
        errors = np.abs(actual - wanted)
        self.values += errors.size
        self.total += float(errors.sum())
        self.max_error = max(self.max_error, float(errors.max(initial=0)))
        self.scale = max(self.scale, float(np.abs(wanted).max(initial=0)))
        self.dot += float(actual @ wanted)
        self.norm += float(actual @ actual)
        self.expected_norm += float(wanted @ wanted)
        self.squares += float(errors @ errors)
        self.expected_sum += float(wanted.sum())

    def _add_entries(
        self, actual: NDArray[Any], wanted: NDArray[Any], finite: NDArray[Any]
    ) -> None:
        if self.entries is None:
            self.is_table = wanted.ndim == _TABLE and wanted.shape[-1] <= _FEW_COLUMNS
            axes = {1, wanted.ndim - 1} if wanted.ndim > 1 else set()
            sizes = {axis: wanted.shape[axis] for axis in sorted(axes)}
            self.entries = {a: EntrySums(a, n) for a, n in sizes.items() if 1 < n <= _MOST_ENTRIES}
        for axis, sums in list(self.entries.items()):
            if wanted.ndim <= axis or wanted.shape[axis] != sums.size:
                del self.entries[axis]
        if self.entries:
            values = np.where(finite, wanted, 0)
            errors = np.where(finite, actual, 0) - values
            norms, squares = values * values, errors * errors
            for sums in self.entries.values():
                sums.add(values, norms, squares, finite)

    def parity(self) -> OutputParity:
        norms = (self.norm * self.expected_norm) ** 0.5
        has_agreement = (self.is_exact or self.are_logits or self.is_mask) and self.rows
        return OutputParity(
            values=self.values,
            max_error=self.max_error,
            mean_error=self.total / max(self.values, 1),
            cosine=self.dot / norms if norms else float(self._are_all_zero()),
            agreement=self.same / self.rows if has_agreement else None,
            rows=self.rows,
            scale=max(self.scale, _SMALLEST_SCALE),
            exact=self.is_exact,
            unexplained=self._unexplained(),
            is_mask=self.is_mask,
            is_probability=self.is_probability,
            not_finite=self.not_finite,
            answers=len(self.answers),
            entries=self._entries(),
            root_mean_square=(self.squares / max(self.values, 1)) ** 0.5,
            is_table=self.is_table,
            other_shapes=self.other_shapes,
        )

    def _are_all_zero(self) -> bool:
        return self.norm == self.expected_norm and not self.other_shapes

    def _entries(self) -> Entries | None:
        found = [each for sums in (self.entries or {}).values() if (each := sums.entries())]
        return max(found, key=lambda e: (e.poor / e.count, e.unexplained), default=None)

    def _unexplained(self) -> float | None:
        spread = self.expected_norm - self.expected_sum**2 / max(self.values, 1)
        if spread <= NOT_VARYING * self.expected_norm:
            return None
        return self.squares / spread


def _largest(values: NDArray[Any]) -> float:
    """Return the largest absolute value among the finite ones."""
    numbers = values.astype(np.float64)
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0))


def figures_of(outputs: Mapping[str, OutputParity], calls: int) -> dict[str, Any]:
    """Return the figures for a manifest: those of the worst output, and those of each.

    Args:
        outputs: differences of each output.
        calls: number of samples.
    """
    compared = [one for one in outputs.values() if one.values] or list(outputs.values())
    floats = [one for one in compared if not one.exact] or compared
    worst = max(floats, key=lambda one: one.max_error / one.scale)
    agreements = [one.agreement for one in outputs.values() if one.agreement is not None]
    return {
        "rows": calls,
        "max_error": worst.max_error,
        "mean_error": worst.mean_error,
        "cosine": min(one.cosine for one in floats),
        "agreement": min(agreements) if agreements else None,
        "scale": worst.scale,
        "scales": {name: one.scale for name, one in outputs.items()},
        "outputs": {name: asdict(one) for name, one in outputs.items()},
    }
