"""bmc quantize"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cyclopts import Parameter

from bmc.cli._common import Answer, Set, TuningOptions, Writing, pairs_of
from bmc.cli._shown import compressed
from bmc.errors import UsageError
from bmc.model import Model, Step, Work
from bmc.workflows.compress import compress, settings_of, step_class


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
    technique = step_class("quantize", method)
    if bits is not None and method != "weights":
        raise UsageError(f"{method} has no --bits; --method weights has: --method weights --bits 4")
    typed: dict[str, Any] = {"rows": rows, "calibrator": calibrator, "bits": bits}
    names = [name.strip() for entry in in_float or () for name in entry.split(",")]
    typed["in_float"] = tuple(name for name in names if name) or None
    if method == "mixed":
        typed["max_points"] = tuning.max_drop
    step: Step = technique(**settings_of(technique, method, pairs_of(set_), typed))
    if method == "qat":
        tuning = replace(tuning, epochs=tuning.epochs or 1, distill=tuning.teacher is None)
    elif option := _of_training(tuning):
        raise UsageError(f"{method} trains nothing, so it takes no {option}; --method qat does")

    def choose(loaded: Model, work: Work) -> Step:
        return step

    made = compress("quantize", method, model, choose, tuning, data, common.output, common.force)
    return compressed(made)


def _of_training(tuning: Training) -> str:
    """Return the first option that was typed although it says how to train; "" if none was."""
    typed = {
        "--epochs": tuning.epochs,
        "--learning-rate": tuning.learning_rate,
        "--batch-size": tuning.batch_size,
        "--distill": tuning.distill,
        "--teacher": tuning.teacher,
    }
    return next((option for option, value in typed.items() if value), "")
