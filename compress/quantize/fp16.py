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
    """Compute in fp16; norms, softmax and layers that would overflow stay in fp32.

    The graph states the precision of each operator. TensorRT computes in that precision; ONNX
    Runtime and OpenVINO on a CPU store half as many bytes, and compute in fp32.

    Args:
        samples: number of calibration samples for finding overflow: training rows, drawn at random.
        in_float: names (fnmatch patterns) of layers that stay in fp32, in addition to layers that
            overflow.

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
        """Convert layers to fp16, except layers that would overflow, which a note lists."""
        form = inference_form(model)
        keep = half_precision.layers_in_fp32(form, model.task, self.in_float)
        samples = calibration_samples(model, work, self.samples)
        overflowing = overflowing_layers(form, model.encoder, samples)
        if overflowing:
            console.note(f"left in fp32, near fp16's largest number: {', '.join(overflowing)}")
        record = half_precision.apply(model, form, "fp16", keep | set(overflowing))
        if record:
            check_outputs(model.module, model.encoder, samples)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace a newly built model's module by its inference form, in the recorded precision."""
        half_precision.rebuild(model, record)


STEP = Fp16
