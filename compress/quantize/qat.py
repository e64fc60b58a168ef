"""Quantization-aware training: train weights and input scales of the quantized model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bmc.compress.quantize.static import Static
from bmc.inference.quantized_form import learn_scales
from bmc.inference.quantizers import LearnedActivationQuantizer
from bmc.model import AfterStep, Model, Record, Work

_MIN_FRACTION = 0.01  # of the calibrated scale


@dataclass(frozen=True)
class Qat(Static):
    """Quantize as `static` does, then train the quantized model: its weights and input scales.

    The input scales start from calibration. A classifier is distilled from the model before
    quantization, unless another teacher is named; a regression is trained on its labels, a
    generator against a new discriminator. The scale of an output channel's weights always follows
    from the channel's largest weight.

    Source: Esser et al. 2020, "Learned Step Size Quantization", section 2; Jacob et al. 2018,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
    """

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize and calibrate; return how each layer is quantized. The caller trains."""
        record = super().apply(model, work)
        learn_scales(model.module)
        return {
            path: {**entry, "inputs": "learned"} if entry["inputs"] == "static" else entry
            for path, entry in record.items()
        }

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Return a function that keeps learned scales above 0 after each training step.

        A layer with scale 0 would output constants and get no gradient.
        """

        @torch.no_grad()
        def after_step(module: nn.Module, done: float) -> None:
            for part in module.modules():
                if isinstance(part, LearnedActivationQuantizer):
                    part.scale.clamp_(min=_MIN_FRACTION * part.symmetric_scale)

        return after_step


STEP = Qat
