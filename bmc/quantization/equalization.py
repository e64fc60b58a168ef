"""Equalization: scale down outlying input channels before they are quantized.

A tensor has one scale, which must cover its largest channel and leaves few steps for the other
channels. Here the few outlying channels are divided, and their weights multiplied by the same
divisors; weights have a scale for each output channel. Unlike SmoothQuant (Xiao et al. 2023,
equation 4), this does not change the other channels and their weights: see
docs/decisions/0017-outlying-channels-are-divided.md.
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

# A layer is equalized only if its largest divisor reaches this: scaling costs a multiplication.
_MIN_LARGEST_DIVISOR = 3.0


def quantize_equalized(
    model: Model,
    record: Record,
    layers: Mapping[str, nn.Module],
    rows: Sequence[Any],
    outlier_threshold: float,
) -> Record:
    """Quantize layers as a record says, with outlying channels scaled down, and return the record.

    Args:
        model: a model whose module is an inference form, in float.
        record: entries of a record, by path of the layer.
        layers: the layers of the record, by path.
        rows: calibration samples: raw rows of the training split.
        outlier_threshold: see `channel_divisors`.

    Returns:
        the record, with the scaled layers marked `divided`.
    """
    divisors = channel_divisors(model.module, layers, model.encoder, rows, outlier_threshold)
    record = {
        path: {**entry, "divided": True} if path in divisors else entry
        for path, entry in record.items()
    }
    quantize_layers(model.module, record)
    for path, layer_divisors in divisors.items():
        layer: Any = model.module.get_submodule(path)
        layer.scale_channels(layer_divisors)
    return record


def channel_divisors(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    outlier_threshold: float,
) -> dict[str, Tensor]:
    """Return the divisors of the input channels of linear layers with outlying channels.

    Args:
        form: an inference form in float.
        layers: the layers that will be quantized, by path.
        encoder: encoder of the rows.
        rows: calibration samples: raw rows of the training split.
        outlier_threshold: limit of a channel's largest absolute value, in multiples of the median
            channel's largest absolute value. Larger channels are divided down to the limit; 0
            divides no channel.

    Returns:
        divisors (in), at least 1, by path of the layer.
    """
    linears = unshared(form, layers) if outlier_threshold else {}
    if not linears:
        return {}
    largest = largest_inputs(form, linears, encoder, rows)
    divisors = {path: divisors_of(values, outlier_threshold) for path, values in largest.items()}
    needed = {
        path: layer_divisors
        for path, layer_divisors in divisors.items()
        if is_worth_dividing(layer_divisors)
    }
    if needed:
        console.note(
            f"{len(needed)} of {len(divisors)} linear layers have outlying input channels, which "
            "are scaled down first (--set outlier_threshold=0 leaves them unscaled)"
        )
    return needed


@torch.inference_mode()
def largest_inputs(
    form: nn.Module, linears: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the largest absolute value of each input channel (in) of linear layers, by path."""
    largest: dict[str, Tensor] = {}

    def observe(path: str, values: Tensor) -> None:
        if not values.numel():  # such as an expert to which no row of the batch goes
            return
        batch_largest = values.abs().reshape(-1, values.shape[-1]).amax(dim=0)
        largest[path] = batch_largest.maximum(largest.get(path, batch_largest))

    observe_inputs(form, linears, encoder, rows, observe, "looking for outlying channels")
    return largest


def check_outlier_threshold(outlier_threshold: float) -> None:
    """Refuse an invalid outlier threshold.

    Raises:
        SettingError: the threshold is neither 0 nor a finite number of at least 1.
    """
    if outlier_threshold != 0 and not 1 <= outlier_threshold < float("inf"):
        raise SettingError(f"outlier_threshold is {outlier_threshold}; it must be 0 or at least 1")


def is_worth_dividing(divisors: Any) -> bool:
    """Tell whether the largest divisor of a layer is worth a multiplication, and finite."""
    return bool(_MIN_LARGEST_DIVISOR <= float(divisors.max()) < float("inf"))


def divisors_of(largest: Tensor, outlier_threshold: float) -> Tensor:
    """Return the divisors, at least 1, that bring each channel's largest value to the threshold.

    Args:
        largest: largest absolute value of each channel (channels).
        outlier_threshold: see `channel_divisors`.
    """
    nonzero = largest[largest > 0]
    if not len(nonzero):
        return torch.ones_like(largest)
    return (largest / (outlier_threshold * nonzero.median())).clamp(min=1.0)
