"""bmc quantize"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from bmc.cli.choices import Choice, plugin
from bmc.cli.options import (
    Answer,
    CodedWriting,
    DataPath,
    ModelName,
    Set,
    TuningOptions,
    pairs_of,
)
from bmc.contracts.techniques import techniques

PANEL = "Method"
_METHOD = plugin(techniques("quantize"))
_CALIBRATOR = Choice("calibrator", ("mse", "minmax", "percentile"))


@dataclass(frozen=True)
class Training(TuningOptions):
    """How quantization-aware training goes; the other methods train nothing.

    Args:
        epochs: epochs of quantization-aware training (qat); 0 means 1.
    """

    epochs: int = 0


def quantize(
    model: ModelName = None,
    *,
    method: Annotated[str, _METHOD] = "static",
    samples: int | None = None,
    calibrator: Annotated[str | None, _CALIBRATOR] = None,
    bits: int | None = None,
    in_float: tuple[str, ...] | None = None,
    set_: Set = (),
    tuning: Training = Training(),
    data: DataPath = None,
    common: CodedWriting = CodedWriting(),
) -> Answer:
    """Quantize a model's weights and activations.

    The model directory records which layers are quantized and how; `bmc export` lowers that to what
    each target runs fastest. Prune, share and distil before, not after.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: static is int8 with calibrated activation ranges; qat is static followed by
            quantization-aware training; mixed is static with the most sensitive layers in float;
            dynamic is int8 with ranges computed at each call; weights quantizes the weights alone,
            to int8 or int4; fp16 and bf16 are half precision.
        samples: number of calibration samples (static, qat, mixed, dynamic, fp16, and weights with
            --bits 4).
        calibrator: calibration method of activation ranges (static, qat, mixed).
        bits: 8 or 4 (weights).
        in_float: layers to leave in float, by name or pattern; several are possible.
        set_: a setting of the method, such as weight_bits=7; several are possible.
        data: where the model's training data is now, if it was moved.

    Example:
        bmc quantize bert-movie-reviews
        bmc quantize bert-movie-reviews --method weights --bits 4
    """
    from bmc.cli.shown.models import compressed
    from bmc.workflows import quantize as workflow

    common.begin()
    options = pairs_of(set_)
    names = [name.strip() for entry in in_float or () for name in entry.split(",")]
    typed: dict[str, Any] = {
        "samples": samples,
        "calibrator": calibrator,
        "bits": bits,
        "in_float": tuple(name for name in names if name) or None,
    }
    return compressed(
        workflow.quantize(model, method, options, typed, tuning, data, common.output, common.force)
    )
