"""Batches of rows of like length, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bmc.inputs import Encoder, Many

_BATCHES_A_BUCKET = 50


@dataclass(frozen=True)
class Batch:
    """Rows that are computed together.

    Args:
        inputs: the model's arguments, int64 (rows, length).
        labels: class indices, int64 (rows), -1 where a row has none; numbers in a regression, NaN.
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
        rows: raw rows.
        labels: of the first rows, class indices or numbers; the rows behind them have none.
        encoder: turns rows into tensors.
    """

    def __init__(
        self,
        rows: Many,
        labels: Sequence[int] | Sequence[float],
        encoder: Encoder,
    ) -> None:
        self._encoded = encoder.encode(rows)
        self._encoder = encoder
        self.lengths = np.asarray(encoder.lengths(self._encoded), np.int64)
        if len(labels) and isinstance(labels[0], float):
            missing = [math.nan] * (len(rows) - len(labels))
            self.labels = torch.tensor([*labels, *missing], dtype=torch.float32)
        else:
            unknown = [-1] * (len(rows) - len(labels))
            self.labels = torch.tensor([*labels, *unknown], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, places: Sequence[int]) -> Batch:
        """Collate the rows at these places."""
        arrays = self._encoder.batch(self._encoded, places)
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        rows = torch.tensor(places, dtype=torch.int64)
        return Batch(inputs, self.labels[rows], rows)

    def in_order(self, size: int) -> list[list[int]]:
        """Cut all rows into batches of like length, shortest first, for scoring."""
        order = np.argsort(self.lengths, kind="stable").tolist()
        return [order[start : start + size] for start in range(0, len(order), size)]

    def shuffled(self, size: int, seed: int, epoch: int, tokens: int = 0) -> list[array[int]]:
        """Cut all rows into batches of like length, mixed anew in each epoch.

        Args:
            size: rows a batch; with `tokens`, the most rows.
            seed: of the order.
            epoch: of the order.
            tokens: time steps a batch, padding included; 0 for a fixed number of rows.
        """
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(self))
        batches: list[array[int]] = []
        for start in range(0, len(order), size * _BATCHES_A_BUCKET):
            bucket = order[start : start + size * _BATCHES_A_BUCKET]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")].tolist()
            cut = self._by_tokens(bucket, size, tokens) if tokens else _by_rows(bucket, size)
            batches += [array("q", places) for places in cut]  # compact: there may be millions
        if not tokens and len(batches) > 1 and len(batches[-1]) == 1:  # batch norm needs two
            batches[-2].extend(batches.pop())
        return [batches[place] for place in generator.permutation(len(batches))]

    def _by_tokens(self, bucket: list[int], size: int, tokens: int) -> list[list[int]]:
        batches: list[list[int]] = [[]]
        for place in bucket:  # shortest first, so this row is the longest of its batch
            rows = len(batches[-1]) + 1
            if batches[-1] and (rows > size or rows * self.lengths[place] > tokens):
                batches.append([])
            batches[-1].append(place)
        return batches


def _by_rows(bucket: list[int], size: int) -> list[list[int]]:
    return [bucket[at : at + size] for at in range(0, len(bucket), size)]
