"""bfloat16: weights and most of the arithmetic with the range of fp32 and 8 bits of digits."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.compress.quantize import _form, _narrow
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class Bf16:
    """Compute in bf16; norms and softmax stay in fp32. Nothing can overflow that does not in fp32.

    OpenVINO and TensorRT execute it; ONNX Runtime's CPU cannot load such graphs.

    Args:
        in_float: names (fnmatch patterns) of layers that stay in fp32.

    Source: Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training".
    """

    in_float: tuple[str, ...] = ()

    def apply(self, model: Model, work: Work) -> Record:
        """Change every layer but those that are kept."""
        form = _form.form_of(model)
        every = _form.layers_of(form)
        kept = every.keys() - _form.chosen(every, self.in_float).keys()
        kept |= _narrow.answering(form, model.task)
        record: Record = {"precision": "bf16", "keep": sorted(kept)}
        if not _narrow.narrowed(form, record["keep"]):
            return {}
        Bf16.rebuild(model, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, in the recorded precision."""
        _narrow.rebuild(model, record)


STEP = Bf16
