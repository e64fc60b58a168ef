"""Limits of how much the outputs of an ONNX file's bundle may differ from the original file's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmc.errors import GateError
from bmc.export.tensor_parity import OutputParity
from bmc.precision import PRECISIONS, ParityLimits

# A cosine similarity of c leaves 2 (1 - c) of the squares of values around 0 unexplained; what is
# only far from 0 must not hide errors five times as large.
_UNEXPLAINED = 10.0
_CONSTANT_ANSWER = 1 - 1e-9  # unexplained share, within rounding
_OF_ANSWERS = 0.99  # most that is required of the values where answers are compared, too
_OUTSIDE = 0.1  # largest change of a probability where no pixel lies inside
_OF_MASK = 0.02  # root mean squared error of a mask's probabilities that is always allowed
_POOR_SHARE = 0.05  # of the entries along an axis that is said
_UNCHANGED = 1e-3  # of the scale: changes that no comparison needs to show


def check_finite(outputs: Mapping[str, OutputParity]) -> None:
    """Refuse a bundle with new NaN or infinite values.

    Raises:
        GateError: there is such an output, or one whose original values are all NaN or infinite.
    """
    for name, parity in outputs.items():
        if not np.isfinite(parity.max_error):
            raise GateError(f"output {name!r} has NaN or infinity in the bundle")
        if parity.not_finite and not parity.values:
            raise GateError(
                f"output {name!r} of the original file is NaN or infinite for every sample, so "
                "nothing can be compared; pass samples like those that the model was made for"
            )


def check_shapes(outputs: Mapping[str, OutputParity]) -> None:
    """Refuse a bundle with outputs of other shapes.

    Raises:
        GateError: there is such an output.
    """
    for name, parity in outputs.items():
        if parity.other_shapes:
            raise GateError(
                f"output {name!r} has another shape in the bundle for {parity.other_shapes} of the "
                "calls"
            )


def check(
    outputs: Mapping[str, OutputParity], precision: str, min_agreement: float | None = None
) -> None:
    """Refuse a bundle whose outputs differ by more than its precision allows.

    Args:
        outputs: differences of each output.
        precision: the bundle's precision, a key of `bmc.precision.PRECISIONS`.
        min_agreement: smallest agreement, and smallest cosine similarity, which may leave ten times
            the rest to 1 of the variance unexplained; None for the agreement that the precision
            requires.

    Raises:
        GateError: a limit is broken; the message names the output, the limit and the value.
    """
    limits = PRECISIONS[precision].limits
    check_shapes(outputs)
    check_finite(outputs)
    for name, parity in outputs.items():
        if parity.agreement is not None:
            _check_agreement(name, parity, limits, min_agreement)
        if min_agreement is not None and not parity.exact:
            _check_values(name, parity, min_agreement)
        largest = limits.max_error
        if parity.agreement is not None and limits.max_row_error is not None:
            largest = limits.max_row_error
        is_bounded = not parity.exact and not (parity.is_mask and min_agreement is not None)
        if is_bounded and parity.max_error > largest * parity.scale:
            raise GateError(
                f"output {name!r} changes by up to {parity.max_error:.2g}; allowed is "
                f"{largest * parity.scale:.2g}"
            )


def doubts(outputs: Mapping[str, OutputParity]) -> tuple[str, ...]:
    """Say what an accepted comparison does not show, at most a sentence for each output.

    Args:
        outputs: differences of each output.
    """
    sentences = ((name, _doubt(parity)) for name, parity in outputs.items())
    return tuple(f"output {name!r} {sentence}" for name, sentence in sentences if sentence)


def _doubt(parity: OutputParity) -> str:
    if parity.other_shapes:
        return f"has another shape in {parity.other_shapes} of the calls, which were not compared"
    if not parity.values and not parity.rows:
        return "is empty for every sample, so it was not compared"
    if parity.answers == 1 and parity.rows > 1 and parity.max_error > _UNCHANGED * parity.scale:
        return (
            "has the same answer everywhere, so equal answers show little: pass samples of other "
            "classes"
        )
    entries = parity.entries
    if entries and entries.poor > _POOR_SHARE * entries.count and not parity.is_probability:
        return (
            f"has {entries.poor} of {entries.count} entries along axis {entries.axis} of whose "
            "variance more than half is unexplained, which much larger entries hide (entry "
            f"{entries.worst}, for example)"
        )
    return ""


def _check_agreement(
    name: str, parity: OutputParity, limits: ParityLimits, min_agreement: float | None
) -> None:
    share = limits.min_agreement if min_agreement is None else min_agreement
    free_rows = limits.free_rows if min_agreement is None else 0
    agreement = parity.agreement or 0.0
    if agreement < min(share, 1 - free_rows / max(parity.rows, 1)):
        raise GateError(
            f"only {agreement:.2%} of {name!r} agree with the original file; required is "
            f"{share:.2%}"
        )


def _check_values(name: str, parity: OutputParity, min_agreement: float) -> None:
    """Check values beyond their answers: those of an output that may hold something else."""
    if parity.is_mask:
        _check_mask(name, parity, min_agreement)
    elif parity.agreement is None:
        _check_similarity(name, parity, min_agreement)
        _check_explained(name, parity, min_agreement)
    elif not parity.is_probability:
        _check_explained(name, parity, min(min_agreement, _OF_ANSWERS))


def _check_mask(name: str, parity: OutputParity, min_agreement: float) -> None:
    """Check the probabilities of a mask, which may be the pixels of an image instead."""
    if parity.agreement is None and parity.max_error > _OUTSIDE:
        raise GateError(
            f"output {name!r} is a mask without a pixel inside, and changes by up to "
            f"{parity.max_error:.2g}; allowed is {_OUTSIDE}"
        )
    if parity.agreement is not None and parity.root_mean_square > _OF_MASK:
        _check_explained(name, parity, min(min_agreement, _OF_ANSWERS))


def _check_similarity(name: str, parity: OutputParity, min_agreement: float) -> None:
    if parity.cosine < min_agreement:
        raise GateError(
            f"output {name!r} has cosine similarity {parity.cosine:.4f} with the original "
            f"file's; required is {min_agreement:g}"
        )
    most = _UNEXPLAINED * (1 - min_agreement) * parity.scale
    if parity.unexplained is None and parity.max_error > most:
        raise GateError(
            f"output {name!r} is the same number everywhere, {parity.scale:.4g}, and changes by "
            f"up to {parity.max_error:.2g}; allowed is {most:.2g}"
        )


def _check_explained(name: str, parity: OutputParity, min_agreement: float) -> None:
    """Check how much of the variance is unexplained, also of columns that larger ones hide."""
    most = _UNEXPLAINED * (1 - min_agreement)
    if parity.unexplained is not None and parity.unexplained > most:
        raise GateError(
            f"output {name!r} leaves {parity.unexplained:.2%} of the original file's variance "
            f"unexplained; allowed is {most:.2%}"
        )
    entries = parity.entries if parity.is_table and not parity.is_probability else None
    is_limited = most < _CONSTANT_ANSWER
    if is_limited and entries and entries.unexplained > most:
        raise GateError(
            f"column {entries.worst} of output {name!r}, which larger ones hide, leaves "
            f"{entries.unexplained:.2%} of the original file's variance unexplained; allowed is "
            f"{most:.2%}"
        )
