"""bmc quantize"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cyclopts import Parameter

from bmc.cli._common import Answer, Set, TuningOptions, Writing, pairs_of
from bmc.cli._shown import compressed
from bmc.workflows import quantize as workflow


@Parameter(name="*")
@dataclass(frozen=True)
class Training(TuningOptions):
    """How quantization-aware training goes; the other methods train nothing.

    Args:
        epochs: passes of training; for qat, 0 is 1.
    """

    epochs: int = 0


def quantize(
    model: str | None = None,
    *,
    method: str = "static",
    rows: int | None = None,
    calibrator: str | None = None,
    bits: int | None = None,
    in_float: tuple[str, ...] | None = None,
    set_: Set = (),
    tuning: Training = Training(),
    data: str | None = None,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Let fewer bits stand for a model's weights, and for what its layers read.

    The decision is kept in the model directory; `bmc export` lowers it to what each target runs
    fastest. Pruning, sharing and distillation come before, not after.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: static (8 bits, ranges found on training rows), qat (the same, trained on after
            it: one epoch, with the unchanged model as teacher), mixed (the same, with the worst
            layers in float), dynamic (8 bits, ranges found at each call), weights (8 or 4 bits,
            computed in float), fp16, or bf16.
        rows: training rows that ranges are found on (static, qat, mixed), outlying channels
            (dynamic) or overflow (fp16), or that the rounding of 4 bits is fitted to (weights).
        calibrator: how a range is chosen: mse, minmax or percentile (static, qat, mixed).
        bits: 8 or 4 (weights).
        in_float: names (patterns) of layers that stay in float; several are possible.
        set_: another setting of the method, NAME=VALUE; several are possible.
        data: the data that the model was trained on, if it is not where it was.
    """
    common.begin()
    options = pairs_of(set_)
    names = [name.strip() for entry in in_float or () for name in entry.split(",")]
    typed: dict[str, Any] = {
        "rows": rows,
        "calibrator": calibrator,
        "bits": bits,
        "in_float": tuple(name for name in names if name) or None,
    }
    return compressed(
        workflow.quantize(model, method, options, typed, tuning, data, common.output, common.force)
    )
