"""Find layers whose values leave the range of fp16 on calibration samples."""

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
_MARGIN = 4  # values of other rows may exceed those of the calibration samples by this factor


@torch.inference_mode()
def overflowing_layers(form: nn.Module, encoder: Encoder, rows: Sequence[Any]) -> list[str]:
    """Return the paths of layers whose inputs or outputs come near the largest fp16 number.

    Args:
        form: an inference form in fp32.
        encoder: encoder of the rows.
        rows: calibration samples.

    Raises:
        DataError: a value is NaN or infinite even in fp32.
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
    not_finite = [path for path, value in largest.items() if value != value]
    if not_finite:
        raise DataError(f"layer {not_finite[0]!r} reads or returns NaN or infinity even in fp32")
    limit = torch.finfo(torch.float16).max / _MARGIN
    return [path for path, value in largest.items() if value > limit]


@torch.inference_mode()
def check_outputs(form: nn.Module, encoder: Encoder, rows: Sequence[Any]) -> None:
    """Refuse a form in fp16 that overflows between its layers, where no fp32 layer would help.

    Args:
        form: an inference form in fp16.
        encoder: encoder of the rows.
        rows: calibration samples.

    Raises:
        DataError: an output is NaN or infinite.
    """
    for _, inputs in batches_of(encoder, rows, _BATCH):
        if not output_of(form, inputs).isfinite().all():
            raise DataError(
                "values between the layers leave fp16's range, and the outputs are NaN or "
                "infinite; --method bf16 has the range of fp32"
            )


def _note_largest(largest: dict[str, float], path: str) -> Any:
    """Return a hook that stores the largest absolute value of a layer's inputs and outputs."""

    def hook(
        _: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor], output: Tensor
    ) -> None:
        for values in filter(is_float, (*args, *kwargs.values(), output)):
            value = float(values.detach().abs().max()) if values.numel() else 0.0
            is_finite = value < float("inf")
            largest[path] = max(largest.get(path, 0.0), value) if is_finite else float("nan")

    return hook
