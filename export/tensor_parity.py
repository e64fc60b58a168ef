"""Parity of an ONNX file's bundle: compare every output with the original file's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import GateError
from bmc.precision import PRECISIONS

Arrays = Mapping[str, NDArray[Any]]
_SMALLEST_SCALE = 1e-3
_CONSTANT = 1e-9  # of the squares of all values: rounding of the sums
# A cosine similarity of c leaves 2 (1 - c) of the squares of values around 0 unexplained; what is
# only far from 0 must not hide errors five times as large.
_UNEXPLAINED = 10.0
_INSIDE = 0.5  # probability from which a pixel lies inside a mask
_OUTSIDE = 0.1  # largest change of a probability where no pixel lies inside


@dataclass(frozen=True)
class OutputParity:
    """Differences of one output on all samples.

    Args:
        values: number of compared values.
        max_error: largest change of a value; infinite where a value became NaN or infinite, or the
            output got another shape.
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


class Comparison:
    """Compare outputs call by call; the outputs of all calls are never in memory together.

    Args:
        logits: names of the outputs that hold logits.
        masks: names of the outputs that are masks.
    """

    def __init__(self, logits: Collection[str], masks: Collection[str] = ()) -> None:
        self._logits, self._masks = logits, masks
        self._sums: dict[str, _Sums] = {}

    def add(self, outputs: Arrays, expected: Arrays) -> None:
        """Compare the outputs of a call with the original file's."""
        for name, values in expected.items():
            sums = self._sums.setdefault(name, _Sums(name in self._logits, name in self._masks))
            sums.add(outputs[name], values)

    def outputs(self) -> dict[str, OutputParity]:
        """Return the differences of each output so far."""
        return {name: sums.parity() for name, sums in self._sums.items()}


class _Sums:
    def __init__(self, are_logits: bool, is_mask: bool) -> None:
        self.are_logits, self.is_mask, self.is_exact = are_logits, is_mask, False
        self.values = self.rows = self.same = 0
        self.max_error = self.total = self.scale = 0.0
        self.dot = self.norm = self.expected_norm = 0.0
        self.squares = self.expected_sum = 0.0

    def add(self, values: NDArray[Any], expected: NDArray[Any]) -> None:
        self.is_exact = expected.dtype.kind in "biu"
        if values.shape != expected.shape:
            self.max_error, self.rows = float("inf"), self.rows + max(1, expected.size)
            return
        if self.is_exact:
            self.rows += expected.size
            self.same += int((values == expected).sum())
        elif self.are_logits and expected.ndim and expected.shape[-1] > 1 and expected.size:
            self.rows += expected.size // expected.shape[-1]
            self.same += int((values.argmax(axis=-1) == expected.argmax(axis=-1)).sum())
        elif self.is_mask:
            masks = values > _INSIDE, expected > _INSIDE
            self.rows += int((masks[0] | masks[1]).sum())
            self.same += int((masks[0] & masks[1]).sum())
        actual, wanted = values.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(wanted)
        if not np.array_equal(actual[~finite], wanted[~finite], equal_nan=True):
            self.max_error = float("inf")
        if not np.isfinite(actual[finite]).all():
            self.max_error = float("inf")
            return
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

    def parity(self) -> OutputParity:
        norms = (self.norm * self.expected_norm) ** 0.5
        has_agreement = (self.is_exact or self.are_logits or self.is_mask) and self.rows
        return OutputParity(
            values=self.values,
            max_error=self.max_error,
            mean_error=self.total / max(self.values, 1),
            cosine=self.dot / norms if norms else float(self.norm == self.expected_norm),
            agreement=self.same / self.rows if has_agreement else None,
            rows=self.rows,
            scale=max(self.scale, _SMALLEST_SCALE),
            exact=self.is_exact,
            unexplained=self._unexplained(),
            is_mask=self.is_mask,
        )

    def _unexplained(self) -> float | None:
        spread = self.expected_norm - self.expected_sum**2 / max(self.values, 1)
        if spread <= _CONSTANT * self.expected_norm:
            return None
        return self.squares / spread


def figures_of(outputs: Mapping[str, OutputParity], calls: int) -> dict[str, Any]:
    """Return the figures for a manifest: those of the worst output, and those of each.

    Args:
        outputs: differences of each output.
        calls: number of samples.
    """
    floats = [one for one in outputs.values() if not one.exact] or list(outputs.values())
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


def check_finite(outputs: Mapping[str, OutputParity]) -> None:
    """Refuse a bundle with outputs of other shapes, or with new NaN or infinite values.

    Raises:
        GateError: there is such an output.
    """
    for name, parity in outputs.items():
        if not np.isfinite(parity.max_error):
            raise GateError(f"output {name!r} has other shapes, or NaN or infinity, in the bundle")


def check(
    outputs: Mapping[str, OutputParity], precision: str, min_agreement: float | None = None
) -> None:
    """Refuse a bundle whose outputs differ by more than its precision allows.

    Args:
        outputs: differences of each output.
        precision: the bundle's precision, a key of `bmc.precision.PRECISIONS`.
        min_agreement: smallest agreement, or cosine similarity where an output has none, which
            then may leave ten times the rest to 1 of the variance unexplained; None for the
            agreement that the precision requires.

    Raises:
        GateError: a limit is broken; the message names the output, the limit and the value.
    """
    limits = PRECISIONS[precision].limits
    check_finite(outputs)
    for name, parity in outputs.items():
        if parity.agreement is not None:
            share = limits.min_agreement if min_agreement is None else min_agreement
            free_rows = limits.free_rows if min_agreement is None else 0
            if parity.agreement < min(share, 1 - free_rows / max(parity.rows, 1)):
                raise GateError(
                    f"only {parity.agreement:.2%} of {name!r} agree with the original file; "
                    f"required is {share:.2%}"
                )
        elif min_agreement is not None and parity.is_mask:
            if parity.max_error > _OUTSIDE:
                raise GateError(
                    f"output {name!r} is a mask without a pixel inside, and changes by up to "
                    f"{parity.max_error:.2g}; allowed is {_OUTSIDE}"
                )
        elif min_agreement is not None and parity.cosine < min_agreement:
            raise GateError(
                f"output {name!r} has cosine similarity {parity.cosine:.4f} with the original "
                f"file's; required is {min_agreement:g}"
            )
        elif min_agreement is not None and parity.unexplained is not None:
            most = _UNEXPLAINED * (1 - min_agreement)
            if parity.unexplained > most:
                raise GateError(
                    f"output {name!r} leaves {parity.unexplained:.2%} of the original file's "
                    f"variance unexplained; allowed is {most:.2%}"
                )
        largest = limits.max_error
        if parity.agreement is not None and limits.max_row_error is not None:
            largest = limits.max_row_error
        is_bounded = not parity.exact and not (parity.is_mask and min_agreement is not None)
        if is_bounded and parity.max_error > largest * parity.scale:
            raise GateError(
                f"output {name!r} changes by up to {parity.max_error:.2g}; allowed is "
                f"{largest * parity.scale:.2g}"
            )
