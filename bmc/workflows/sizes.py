"""What a compressed model takes: parameters, bytes, multiply-accumulates and score."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.measure.shown import megabytes


@dataclass(frozen=True)
class Size:
    """Size and score of a model, before or after a step.

    Args:
        parameters: number of parameters; shared parameters are counted once.
        bytes: bytes of parameters and buffers; shared ones are counted once.
        macs: multiply-accumulates of one row; of 32 steps for a text or series.
        score: score of the validation rows; None for a generator.
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
