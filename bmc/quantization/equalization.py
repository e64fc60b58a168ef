"""Equalization: scale down outlying input channels before they are quantized.

One scale for a tensor has to hold its largest channel, and leaves few steps to the others. Here the
few outlying channels are divided and their weights, which have a scale for each output channel, are
multiplied instead. Unlike SmoothQuant (Xiao et al. 2023, equation 4) that leaves the other channels
and their weights as they are: see docs/decisions/0017-outlying-channels-are-divided.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.errors import SettingError
from bmc.inference.layers import unshared
from bmc.inference.quantized_form import quantize_layers
from bmc.inputs import Encoder
from bmc.model import Model, Record
from bmc.quantization.observers import observe_inputs

_SMALLEST_DIVISOR = 3.0  # of the most outlying channel: equalization costs a multiplication


def quantize_equalized(
    model: Model,
    record: Record,
    layers: Mapping[str, nn.Module],
    rows: Sequence[Any],
    outlier_threshold: float,
) -> Record:
    """Quantize layers as a record says, with outlying channels scaled down, and return the record.

    Args:
        model: its module is its inference form, in float.
        record: how each of the layers is quantized.
        layers: those layers, by path.
        rows: calibration samples: raw rows of the training part.
        outlier_threshold: see `channel_divisors`.
    """
    divisors = channel_divisors(model.module, layers, model.encoder, rows, outlier_threshold)
    record = {
        path: {**entry, "divided": True} if path in divisors else entry
        for path, entry in record.items()
    }
    quantize_layers(model.module, record)
    for path, of_layer in divisors.items():
        layer: Any = model.module.get_submodule(path)
        layer.scale_channels(of_layer)
    return record


def channel_divisors(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    outlier_threshold: float,
) -> dict[str, Tensor]:
    """Return what to divide the input channels of linear layers by, for the layers that need it.

    Args:
        form: in float.
        layers: its layers that will be quantized, by path.
        encoder: of the rows.
        rows: calibration samples: raw rows of the training part.
        outlier_threshold: largest value of a channel, in multiples of the median channel's; larger
            ones are divided down to that. 0 divides none.

    Returns:
        divisors (in), at least 1, by path.
    """
    linears = unshared(form, layers) if outlier_threshold else {}
    if not linears:
        return {}
    largest = largest_inputs(form, linears, encoder, rows)
    divisors = {path: _divisors(values, outlier_threshold) for path, values in largest.items()}
    needed = {
        path: of_layer
        for path, of_layer in divisors.items()
        if _SMALLEST_DIVISOR <= float(of_layer.max()) < float("inf")
    }
    if needed:
        console.note(
            f"{len(needed)} of {len(divisors)} linear layers read outlying channels, which are "
            "scaled down first (--set outlier_threshold=0 leaves them)"
        )
    return needed


@torch.inference_mode()
def largest_inputs(
    form: nn.Module, linears: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the largest absolute value of each input channel (in) of linear layers, by path."""
    largest: dict[str, Tensor] = {}

    def observe(path: str, values: Tensor) -> None:
        of_batch = values.abs().flatten(0, -2).amax(dim=0)
        largest[path] = of_batch.maximum(largest.get(path, of_batch))

    observe_inputs(form, linears, encoder, rows, observe, "looking for outlying channels")
    return largest


def check_outlier_threshold(outlier_threshold: float) -> None:
    """Refuse an outlier threshold that means nothing.

    Raises:
        SettingError: it is neither 0 nor 1 and more.
    """
    if outlier_threshold != 0 and not 1 <= outlier_threshold < float("inf"):
        raise SettingError(f"outlier_threshold is {outlier_threshold}; it must be 0, or 1 and more")


def _divisors(largest: Tensor, outlier_threshold: float) -> Tensor:
    """Return what brings each channel's largest value down to the threshold, at least 1."""
    used = largest[largest > 0]
    if not len(used):
        return torch.ones_like(largest)
    return (largest / (outlier_threshold * used.median())).clamp(min=1.0)
