"""Which layers leave the range of fp16 on real rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc.errors import DataError
from bmc.inference.half_precision import HALF_PRECISION_KINDS, is_float
from bmc.inference.run import batches_of
from bmc.inputs import Encoder
from bmc.model import output_of

_BATCH = 16
_MARGIN = 4  # unseen rows may reach this much further than the calibration samples


@torch.inference_mode()
def overflowing_layers(form: nn.Module, encoder: Encoder, rows: Sequence[Any]) -> list[str]:
    """Return the layers whose inputs or outputs come near the largest fp16 number, by path.

    Args:
        form: an inference form in fp32.
        encoder: of the rows.
        rows: calibration samples.

    Raises:
        DataError: a value is NaN or infinite in fp32 already.
    """
    largest: dict[str, float] = {}
    hooks = [
        layer.register_forward_hook(_note_largest(largest, path), with_kwargs=True)
        for path, layer in form.named_modules()
        if type(layer) in HALF_PRECISION_KINDS
    ]
    try:
        for _, inputs in batches_of(encoder, rows, _BATCH):
            output_of(form, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    broken = [path for path, value in largest.items() if value != value]
    if broken:
        raise DataError(f"layer {broken[0]!r} reads or answers NaN or infinity in 32 bits already")
    limit = torch.finfo(torch.float16).max / _MARGIN
    return [path for path, value in largest.items() if value > limit]


@torch.inference_mode()
def check_outputs(form: nn.Module, encoder: Encoder, rows: Sequence[Any]) -> None:
    """Refuse a form in fp16 that overflows between its layers, where none can be left in fp32.

    Args:
        form: in fp16.
        encoder: of the rows.
        rows: calibration samples.

    Raises:
        DataError: an output is NaN or infinite.
    """
    for _, inputs in batches_of(encoder, rows, _BATCH):
        if not output_of(form, inputs).isfinite().all():
            raise DataError(
                "values between its layers leave fp16's range, so that it answers NaN or infinity; "
                "--method bf16 has the range of fp32"
            )


def _note_largest(largest: dict[str, float], path: str) -> Any:
    """Return a hook that keeps the largest absolute value of a layer's inputs and outputs."""

    def hook(
        _: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor], output: Tensor
    ) -> None:
        for values in filter(is_float, (*args, *kwargs.values(), output)):
            value = float(values.detach().abs().max()) if values.numel() else 0.0
            is_finite = value < float("inf")
            largest[path] = max(largest.get(path, 0.0), value) if is_finite else float("nan")

    return hook
