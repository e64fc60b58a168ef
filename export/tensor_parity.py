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
            holds logits; share of equal values, where it holds integers; otherwise None.
        rows: number of rows, or integers, that the agreement counts.
        scale: largest absolute value of the original output.
        exact: whether the output holds integers, whose size of a change means nothing.
    """

    values: int
    max_error: float
    mean_error: float
    cosine: float
    agreement: float | None
    rows: int
    scale: float
    exact: bool = False


class Comparison:
    """Compare outputs call by call; the outputs of all calls are never in memory together.

    Args:
        logits: names of the outputs that hold logits.
    """

    def __init__(self, logits: Collection[str]) -> None:
        self._logits = logits
        self._sums: dict[str, _Sums] = {}

    def add(self, outputs: Arrays, expected: Arrays) -> None:
        """Compare the outputs of a call with the original file's."""
        for name, values in expected.items():
            sums = self._sums.setdefault(name, _Sums(name in self._logits))
            sums.add(outputs[name], values)

    def outputs(self) -> dict[str, OutputParity]:
        """Return the differences of each output so far."""
        return {name: sums.parity() for name, sums in self._sums.items()}


class _Sums:
    def __init__(self, are_logits: bool) -> None:
        self.are_logits, self.is_exact = are_logits, False
        self.values = self.rows = self.same = 0
        self.max_error = self.total = self.scale = 0.0
        self.dot = self.norm = self.expected_norm = 0.0

    def add(self, values: NDArray[Any], expected: NDArray[Any]) -> None:
        self.is_exact = expected.dtype.kind in "biu"
        if values.shape != expected.shape:
            self.max_error, self.rows = float("inf"), self.rows + max(1, expected.size)
            return
        if self.is_exact:
            self.rows += expected.size
            self.same += int((values == expected).sum())
        elif self.are_logits and expected.size:
            self.rows += expected.size // expected.shape[-1]
            self.same += int((values.argmax(axis=-1) == expected.argmax(axis=-1)).sum())
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

    def parity(self) -> OutputParity:
        norms = (self.norm * self.expected_norm) ** 0.5
        has_agreement = (self.is_exact or self.are_logits) and self.rows
        return OutputParity(
            values=self.values,
            max_error=self.max_error,
            mean_error=self.total / max(self.values, 1),
            cosine=self.dot / norms if norms else 1.0,
            agreement=self.same / self.rows if has_agreement else None,
            rows=self.rows,
            scale=max(self.scale, _SMALLEST_SCALE),
            exact=self.is_exact,
        )


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


def check(
    outputs: Mapping[str, OutputParity], precision: str, min_agreement: float | None = None
) -> None:
    """Refuse a bundle whose outputs differ by more than its precision allows.

    Args:
        outputs: differences of each output.
        precision: the bundle's precision, a key of `bmc.precision.PRECISIONS`.
        min_agreement: smallest agreement, or cosine similarity where an output has none; None for
            the agreement that the precision requires.

    Raises:
        GateError: a limit is broken; the message names the output, the limit and the value.
    """
    limits = PRECISIONS[precision].limits
    for name, parity in outputs.items():
        if not np.isfinite(parity.max_error):
            raise GateError(f"output {name!r} has other shapes, or NaN or infinity, in the bundle")
        if parity.agreement is not None:
            share = limits.min_agreement if min_agreement is None else min_agreement
            free_rows = limits.free_rows if min_agreement is None else 0
            if parity.agreement < min(share, 1 - free_rows / max(parity.rows, 1)):
                raise GateError(
                    f"only {parity.agreement:.2%} of {name!r} agree with the original file; "
                    f"required is {share:.2%}"
                )
        elif min_agreement is not None and parity.cosine < min_agreement:
            raise GateError(
                f"output {name!r} has cosine similarity {parity.cosine:.4f} with the original "
                f"file's; required is {min_agreement:g}"
            )
        largest = limits.max_error
        if parity.agreement is not None and limits.max_row_error is not None:
            largest = limits.max_row_error
        if not parity.exact and parity.max_error > largest * parity.scale:
            raise GateError(
                f"output {name!r} changes by up to {parity.max_error:.2g}; allowed is "
                f"{largest * parity.scale:.2g}"
            )
