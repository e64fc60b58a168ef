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
from bmc.inputs import Arrays, Encoder, Many, OutputRows, ordered_batches
from bmc.model import output_of

Tensors = dict[str, Tensor]


def tensors_of(arrays: Arrays, device: torch.device | str = "cpu") -> Tensors:
    """Return an encoder's arrays as tensors, by the names of the network's inputs.

    Args:
        arrays: arrays from `Encoder.batch` or `Encoder.probes`.
        device: device of the tensors.
    """
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def batches_of(
    encoder: Encoder, rows: Many | Sequence[Any], size: int
) -> Iterator[tuple[list[int], Tensors]]:
    """Encode rows and yield them in batches of similar length, shortest first.

    Args:
        encoder: encoder of the model.
        rows: raw rows.
        size: largest number of rows of a batch.

    Yields:
        the indices of a batch's rows, and the network's inputs for them.
    """
    for indices, arrays in ordered_batches(encoder, encoder.encode(rows), size):
        yield indices, tensors_of(arrays)


@torch.inference_mode()
def outputs_on_rows(
    module: nn.Module, encoder: Encoder, rows: Many, size: int, title: str = ""
) -> NDArray[np.float32]:
    """Return a network's outputs on rows, (rows, ...) in fp32, in the order of the rows.

    Of rows of words, there is an output for each word, (words, classes).

    Args:
        module: network in evaluation mode, on the CPU.
        encoder: encoder of the rows.
        rows: raw rows, at least one.
        size: largest number of rows of a batch.
        title: title of a progress bar; "" shows no bar.
    """
    encoded = encoder.encode(rows)
    places = OutputRows(encoder, encoded)
    outputs: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(places)
    with console.progress(title, len(encoded)) if title else nullcontext(_no_progress) as advance:
        for indices, arrays in ordered_batches(encoder, encoded, size):
            batch_outputs = output_of(module, tensors_of(arrays)).numpy()
            selected = places.selected(batch_outputs, indices)
            for index, output in zip(places.at(indices), selected, strict=True):
                outputs[index] = output
            advance(len(indices))
    return np.stack(outputs)


def _no_progress(rows: int) -> None:
    """Show nothing."""
