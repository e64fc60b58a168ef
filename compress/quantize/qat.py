"""Quantization-aware training: the model learns on its grid, and the grid's ranges are learned."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.compress.quantize import _form
from bmc.compress.quantize.static import Static
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class Qat(Static):
    """Quantize as static does, then train what is quantized, its input ranges with the weights.

    Ranges start where calibration puts them. The unchanged model is the teacher where no other is
    named. Weights keep a scale for each output channel, their largest value's.

    Source: Esser et al. 2020, "Learned Step Size Quantization", section 2; Jacob et al. 2018,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
    """

    def apply(self, model: Model, work: Work) -> Record:
        """Find the first ranges, and return what is quantized; training is the caller's."""
        record = super().apply(model, work)
        learned = {
            path: {**own, "inputs": "learned" if own["inputs"] == "static" else own["inputs"]}
            for path, own in record.items()
        }
        _form.learn(model.module)
        return learned


STEP = Qat
