"""Run a network over raw rows, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc import console
from bmc.inputs import Arrays, Encoder, Many, ordered_batches
from bmc.model import output_of

Tensors = dict[str, Tensor]


def tensors_of(arrays: Arrays, device: torch.device | str = "cpu") -> Tensors:
    """Return an encoder's arrays as tensors, by the names of the network's inputs.

    Args:
        arrays: what `Encoder.batch` or `Encoder.probes` returned.
        device: where the tensors are put.
    """
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def batches_of(
    encoder: Encoder, rows: Many | Sequence[Any], size: int
) -> Iterator[tuple[list[int], Tensors]]:
    """Encode rows and yield them in batches of similar length, shortest first.

    Args:
        encoder: of the model.
        rows: raw rows.
        size: rows of a batch at most.

    Yields:
        the places of a batch's rows, and the network's inputs.
    """
    for places, arrays in ordered_batches(encoder, encoder.encode(rows), size):
        yield places, tensors_of(arrays)


@torch.inference_mode()
def outputs_on_rows(
    module: nn.Module, encoder: Encoder, rows: Many, size: int, title: str = ""
) -> NDArray[np.float32]:
    """Return a network's outputs on rows, (rows, ...) in fp32, in the order of the rows.

    Args:
        module: in evaluation mode, on the CPU.
        encoder: of the rows.
        rows: raw rows; at least one.
        size: rows of a batch at most.
        title: of a progress bar; "" shows none.
    """
    outputs: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
    with console.progress(title, len(rows)) if title else nullcontext(_no_progress) as advance:
        for places, tensors in batches_of(encoder, rows, size):
            for place, output in zip(places, output_of(module, tensors).numpy(), strict=True):
                outputs[place] = output
            advance(len(places))
    return np.stack(outputs)


def _no_progress(rows: int) -> None:
    """Show nothing."""
