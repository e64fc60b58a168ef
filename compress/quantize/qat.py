"""Quantization-aware training: weights and input ranges learn what the integers compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bmc.compress.quantize.static import Static
from bmc.inference.quantized_form import learn_scales
from bmc.inference.quantizers import LearnedActivationQuantizer
from bmc.model import AfterStep, Model, Record, Work

_SMALLEST = 0.01  # of the calibrated scale


@dataclass(frozen=True)
class Qat(Static):
    """Quantize as static does, then train the quantized model, its input ranges with the weights.

    Ranges start where calibration puts them. A classifier's teacher is the unchanged model where no
    other is named; a regression learns its labels, a generator from a fresh discriminator. Weights
    keep a scale for each output channel, their largest value's.

    Source: Esser et al. 2020, "Learned Step Size Quantization", section 2; Jacob et al. 2018,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
    """

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize and calibrate; return how each layer is quantized. Training is the caller's."""
        record = super().apply(model, work)
        learn_scales(model.module)
        return {
            path: {**entry, "inputs": "learned"} if entry["inputs"] == "static" else entry
            for path, entry in record.items()
        }

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep learned scales above zero: at zero a layer would answer nothing, and not learn."""

        @torch.no_grad()
        def after_step(module: nn.Module, done: float) -> None:
            for part in module.modules():
                if isinstance(part, LearnedActivationQuantizer):
                    part.scale.clamp_(min=_SMALLEST * part.symmetric_scale)

        return after_step


STEP = Qat
