"""Calibration: choose the scales of activation quantizers from calibration samples.

A histogram of each tensor is kept, whose size does not depend on the number of samples.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference"; Wu et al. 2020, "Integer Quantization for Deep Learning
Inference: Principles and Empirical Evaluation", section 5 (percentile); Sung et al. 2015,
"Resiliency of Deep Neural Networks under Quantization" (least squared error).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc.inference.quantized_form import quantized_layers
from bmc.inference.quantizers import ActivationQuantizer
from bmc.inputs import Encoder
from bmc.quantization.observers import (
    SMALLEST_SCALE,
    HistogramObserver,
    check_samples,
    not_finite,
    observe_inputs,
)


@torch.inference_mode()
def calibrate(
    form: nn.Module, encoder: Encoder, rows: Sequence[Any], calibrator: str, percentile: float
) -> None:
    """Set the scale of each activation quantizer from its inputs on calibration samples.

    Args:
        form: a quantized form whose quantizers are not calibrated, and which computes in float.
        encoder: encoder of the rows.
        rows: calibration samples: raw rows of the training split.
        calibrator: one of `observers.CALIBRATORS`.
        percentile: percentile of the absolute values, for the calibrator "percentile".

    Raises:
        UsageError: there are fewer than two samples.
        DataError: a tensor held NaN or infinity.
    """
    check_samples(rows)
    quantizers = {
        path: part for path, part in form.named_modules() if isinstance(part, ActivationQuantizer)
    }
    observers = {path: HistogramObserver() for path in quantizers}

    def observe(path: str, values: Tensor) -> None:
        observers[path].observe(values)

    observe_inputs(form, quantizers, encoder, rows, observe, "calibrating")
    for path, quantizer in quantizers.items():
        observer = observers[path]
        limit, symmetric_limit = (
            observer.limit(calibrator, percentile, symmetric) for symmetric in (False, True)
        )
        if limit != limit:
            raise not_finite(path.partition(".points")[0])
        chosen = observer.range_up_to(limit)
        symmetric = observer.range_up_to(symmetric_limit, symmetric=True)
        quantizer.calibrate(chosen.scale, chosen.zero_point, chosen.unsigned, symmetric.scale)


def layers_that_read_zeros(form: nn.Module) -> list[str]:
    """Return the paths of the quantized layers whose inputs were all zero in the calibration."""
    return [
        path
        for path, layer in quantized_layers(form).items()
        if any(
            isinstance(quantizer, ActivationQuantizer) and quantizer.scale <= SMALLEST_SCALE
            for quantizer in layer.input_quantizers
        )
    ]
