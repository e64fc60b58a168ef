"""What a compressed model takes: parameters, bytes, multiply-accumulates and score."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.measure.shown import megabytes


@dataclass(frozen=True)
class Size:
    """What a model takes and answers, before or after a step.

    Args:
        parameters: each shared one once.
        bytes: of parameters and buffers, likewise.
        macs: multiply-accumulates of one row; a text or series of 32 steps.
        score: on the validation rows; None for a generator.
    """

    parameters: int
    bytes: int
    macs: int
    score: float | None


def shown_change(before: Size, after: Size) -> str:
    """Say for people what changed."""
    sizes = (
        f"{before.parameters:,} -> {after.parameters:,} parameters, "
        f"{before.macs:,} -> {after.macs:,} MACs, "
        f"{megabytes(before.bytes)} -> {megabytes(after.bytes)}"
    )
    if before.score is None or after.score is None:
        return sizes
    return f"{sizes}, validation score {before.score:.4f} -> {after.score:.4f}"
