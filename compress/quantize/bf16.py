"""bfloat16: weights and most of the arithmetic with the range of fp32 and 8 bits of precision."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.inference.form import inference_form
from bmc.model import Model, Record, Work
from bmc.quantization import half_precision


@dataclass(frozen=True)
class Bf16:
    """Compute in bf16; norms and softmax stay in fp32. bf16 overflows only where fp32 does.

    OpenVINO and TensorRT execute bf16; ONNX Runtime cannot load bf16 graphs on a CPU.

    Args:
        in_float: names (fnmatch patterns) of layers that stay in fp32.

    Source: Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training".
    """

    in_float: tuple[str, ...] = ()

    def apply(self, model: Model, work: Work) -> Record:
        """Convert all layers to bf16, except layers that stay in fp32."""
        form = inference_form(model)
        keep = half_precision.layers_in_fp32(form, model.task, self.in_float)
        return half_precision.apply(model, form, "bf16", keep)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace a newly built model's module by its inference form, in the recorded precision."""
        half_precision.rebuild(model, record)


STEP = Bf16
