"""Batches of rows of like length, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bmc.text import TextEncoder, Tokens

_BATCHES_A_BUCKET = 50


@dataclass(frozen=True)
class Batch:
    """Rows that are computed together.

    Args:
        inputs: the model's arguments, int64 (rows, length).
        labels: class indices, int64 (rows); -1 where a row has none.
        rows: the rows' places in the whole training set, int64 (rows).
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Batch:
        """Move the batch to a device."""
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return Batch(inputs, self.labels.to(device), self.rows.to(device))


class Rows:
    """Encoded rows with labels.

    Args:
        texts: the rows' text columns.
        labels: class indices; -1 where a row has none.
        encoder: turns text into ids.
    """

    def __init__(
        self, texts: Sequence[tuple[str, ...]], labels: Sequence[int], encoder: TextEncoder
    ) -> None:
        self.tokens: list[Tokens] = encoder.encode(texts)
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self._encoder = encoder

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, places: Sequence[int]) -> Batch:
        """Collate the rows at these places."""
        arrays = self._encoder.batch([self.tokens[place] for place in places])
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        rows = torch.tensor(places, dtype=torch.int64)
        return Batch(inputs, self.labels[rows], rows)

    def in_order(self, size: int) -> list[list[int]]:
        """Cut all rows into batches of like length, shortest first, for scoring."""
        order = sorted(range(len(self)), key=lambda place: len(self.tokens[place].ids))
        return [order[start : start + size] for start in range(0, len(order), size)]

    def shuffled(self, size: int, seed: int, epoch: int) -> list[list[int]]:
        """Cut all rows into batches of like length, mixed anew in each epoch."""
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(self)).tolist()
        batches: list[list[int]] = []
        for start in range(0, len(order), size * _BATCHES_A_BUCKET):
            bucket = order[start : start + size * _BATCHES_A_BUCKET]
            bucket.sort(key=lambda place: len(self.tokens[place].ids))
            batches += [bucket[at : at + size] for at in range(0, len(bucket), size)]
        return [batches[place] for place in generator.permutation(len(batches))]
