"""Input channels that reach far beyond the others, and what divides them before they are quantized.

One scale for a tensor has to hold its largest channel, and leaves few steps to the others. Here the
few outlying channels are divided down and their weights, which have a scale for each output, are
multiplied instead. Other than SmoothQuant (Xiao et al. 2023, equation 4) that leaves the channels
that lie within reach, and their weights, as they are: see
docs/decisions/0017-outlying-channels-are-divided.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.compress.quantize._form import alone, place
from bmc.compress.quantize._watching import watch
from bmc.errors import SettingError
from bmc.inputs import Encoder
from bmc.model import Model, Record

_WORTH_IT = 3.0  # what the farthest channel is divided by at least: it costs a multiplication


def place_divided(
    model: Model, record: Record, found: Mapping[str, nn.Module], rows: Sequence[Any], reach: float
) -> Record:
    """Quantize layers as a record says, outlying channels divided, and return what was done.

    Args:
        model: its own inference form, in float.
        record: how each of the layers is quantized.
        found: those layers, by path.
        rows: raw rows, of the training part.
        reach: see `divisors`.
    """
    by = divisors(model.module, found, model.encoder, rows, reach)
    done = {path: {**own, "divided": True} if path in by else own for path, own in record.items()}
    place(model.module, done)
    for path, own in by.items():
        layer: Any = found[path]
        layer.divide(own)
    return done


def divisors(
    form: nn.Module,
    found: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    reach: float,
) -> dict[str, Tensor]:
    """Return what to divide the input channels of linear layers by, for the layers that need it.

    Args:
        form: in float.
        found: its layers that will be quantized, by path.
        encoder: of the rows.
        rows: raw rows, of the training part.
        reach: how many times as far as the median channel one may reach; 0 for any.

    Returns:
        (in), at least 1, by path.
    """
    linears = alone(form, found) if reach else {}
    if not linears:
        return {}
    largest = largest_inputs(form, linears, encoder, rows)
    by = {path: _divisors(seen, reach) for path, seen in largest.items()}
    kept = {path: own for path, own in by.items() if _WORTH_IT <= float(own.max()) < float("inf")}
    if kept:
        console.note(
            f"{len(kept)} of {len(by)} linear layers read channels that reach far beyond the "
            "others; they are divided first (--set reach=0 leaves them)"
        )
    return kept


@torch.inference_mode()
def largest_inputs(
    form: nn.Module, linears: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the largest absolute value of each input channel (in) of linear layers, by path."""
    largest: dict[str, Tensor] = {}

    def add(path: str, values: Tensor) -> None:
        own = values.abs().flatten(0, -2).amax(dim=0)
        largest[path] = own.maximum(largest.get(path, own))

    watch(form, linears, encoder, rows, add, "looking for outlying channels")
    return largest


def check_reach(reach: float) -> None:
    """Refuse a reach that says nothing.

    Raises:
        SettingError: it is neither 0 nor 1 and more.
    """
    if reach != 0 and not 1 <= reach < float("inf"):
        raise SettingError(f"reach is {reach}; it must be 0, or 1 and more")


def _divisors(largest: Tensor, reach: float) -> Tensor:
    """Return what brings each channel's largest value within reach of the median channel's."""
    used = largest[largest > 0]
    if not len(used):
        return torch.ones_like(largest)
    return (largest / (reach * used.median())).clamp(min=1.0)
