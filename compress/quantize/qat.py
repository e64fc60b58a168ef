"""Quantization-aware training: the model learns on its grid, and the grid's ranges are learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bmc.compress.quantize import _form
from bmc.compress.quantize._points import LearnedPoint
from bmc.compress.quantize.static import Static
from bmc.model import AfterStep, Model, Record, Work

_LEAST = 0.01  # of the calibrated scale


@dataclass(frozen=True)
class Qat(Static):
    """Quantize as static does, then train what is quantized, its input ranges with the weights.

    Ranges start where calibration puts them. A classifier's teacher is the unchanged model where no
    other is named; a regression learns its labels, a generator from a fresh discriminator. Weights
    keep a scale for each output channel, their largest value's.

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

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep learned scales above zero: below it they would answer nothing, and learn nothing."""

        @torch.no_grad()
        def after_step(module: nn.Module, done: float) -> None:
            for part in module.modules():
                if isinstance(part, LearnedPoint):
                    part.scale.clamp_(min=_LEAST * part.centred)

        return after_step


STEP = Qat
