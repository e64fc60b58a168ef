"""Half precision: weights and most of the arithmetic in fp16."""

from __future__ import annotations

from dataclasses import dataclass, field

from bmc import console
from bmc.errors import SettingError
from bmc.inference.form import inference_form
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Record, Work
from bmc.quantization import half_precision
from bmc.quantization.overflow import check_outputs, overflowing_layers


@dataclass(frozen=True)
class Fp16:
    """Compute in fp16; norms and softmax stay in fp32, and so do layers that would overflow.

    The precision stands in the graph. TensorRT computes as it says; ONNX Runtime and OpenVINO on a
    CPU store half as much, and compute in fp32.

    Args:
        samples: calibration samples that overflow is looked for on: training rows, drawn at random.
        in_float: names (fnmatch patterns) of layers that stay in fp32, beside those that overflow.

    Raises:
        SettingError: a setting is out of range.

    Source: Micikevicius et al. 2018, "Mixed Precision Training", section 3.
    """

    samples: int = field(default=256, metadata={"alias": "rows"})
    in_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise SettingError(f"samples is {self.samples}; it must be at least 1")

    def apply(self, model: Model, work: Work) -> Record:
        """Look for overflow, say what stays in fp32, and change the rest."""
        form = inference_form(model)
        keep = half_precision.layers_in_fp32(form, model.task, self.in_float)
        samples = calibration_samples(model, work, self.samples)
        overflowing = overflowing_layers(form, model.encoder, samples)
        if overflowing:
            console.note(f"near the end of fp16 and left in fp32: {', '.join(overflowing)}")
        record = half_precision.apply(model, form, "fp16", keep | set(overflowing))
        if record:
            check_outputs(model.module, model.encoder, samples)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, in the recorded precision."""
        half_precision.rebuild(model, record)


STEP = Fp16
