"""What layers read while a network answers real rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console, inputs
from bmc.errors import DataError, UsageError
from bmc.inputs import Encoder
from bmc.model import output_of

_BATCH = 16


@torch.inference_mode()
def watch(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    seen: Callable[[str, Tensor], None],
    title: str,
) -> None:
    """Let a network answer rows, and show what each of some layers reads, batch by batch.

    Args:
        form: in evaluation mode.
        layers: by path.
        encoder: of the rows.
        rows: raw rows, of the training part.
        seen: is given a path and what that layer reads, every time it reads.
        title: of the progress bar.
    """

    def hook_of(path: str) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen(path, given[0])

        return hook

    hooks = [part.register_forward_pre_hook(hook_of(path)) for path, part in layers.items()]
    try:
        with console.progress(title, len(rows)) as advance:
            for places, arrays in inputs.ordered_batches(encoder, encoder.encode(rows), _BATCH):
                output_of(form, {name: torch.from_numpy(array) for name, array in arrays.items()})
                advance(len(places))
    finally:
        for hook in hooks:
            hook.remove()


def check_rows(rows: Sequence[Any]) -> None:
    """Refuse to calibrate on what is no sample.

    Raises:
        UsageError: there are fewer than two rows.
    """
    if len(rows) < 2:
        raise UsageError(
            f"{len(rows)} calibration row(s) say nothing about a range; take at least 2, "
            "better 200 or more: --rows 256"
        )


def no_number(path: str) -> DataError:
    """Say that a layer reads what is no number."""
    return DataError(
        f"layer {path!r} reads NaN or infinity from the calibration rows, so nothing can be fitted "
        "to them: bmc inspect MODEL shows where values leave the range"
    )
