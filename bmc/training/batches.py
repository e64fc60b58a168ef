"""Batches of rows of similar length, in an order that depends only on the seed and the epoch."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bmc.data import Labels
from bmc.inputs import Aligned, Encoder, Many, OutputRows
from bmc.tag_sequences import TagSequences

_BATCHES_PER_BUCKET = 50


@dataclass(frozen=True)
class Mixing:
    """How the rows of a batch were mixed with one another.

    Args:
        partners: for each row the index, in the batch, of the row that it was mixed with, int64
            (rows).
        share: share of the row itself in the mixture, 0 to 1.
    """

    partners: Tensor
    share: float


@dataclass(frozen=True)
class Batch:
    """A batch of rows with their labels.

    Args:
        inputs: the model's arguments by name, (rows, ...); token ids are int64 (rows, length).
        labels: class indices, int64 (rows), with -1 for a row without a label; in a regression
            values, float32 (rows), with NaN for a row without one; of several labels a row 0 or 1,
            float32 (rows, labels), with NaN for a row without any that is known; of texts to embed
            what `bmc.measure.vector_scores` says, float32 (rows, width + 2); of words the tag, -1
            for a word without one, and the number of the row, int64 (words, 2).
        rows: indices of the rows in the whole training set, int64 (rows); of words (words).
        mixing: how the rows were mixed with one another; None if they were not.
        positions: where the outputs of words are in the flattened (rows x length), int64 (words);
            None where each row has one output.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    rows: Tensor
    mixing: Mixing | None = None
    positions: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        positions = None if self.positions is None else self.positions.to(device)
        return replace(
            self,
            inputs=inputs,
            labels=self.labels.to(device),
            rows=self.rows.to(device),
            positions=positions,
        )

    def selected(self, outputs: Tensor) -> Tensor:
        """Return the outputs that have labels: of words (words, classes), else all (rows, ...).

        Args:
            outputs: a network's outputs, (rows, ...) or (rows, length, classes).
        """
        return outputs if self.positions is None else outputs.flatten(0, 1)[self.positions]

    def label_loss(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Return a loss on the labels; of mixed rows, the mean over both rows' labels, by share.

        Args:
            loss: function from labels (rows) to the loss, a scalar.

        Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2. The
        cross-entropy with mixed labels is the mean of the cross-entropies with each label.
        """
        if self.mixing is None:
            return loss(self.labels)
        share, partners = self.mixing.share, self.mixing.partners
        return share * loss(self.labels) + (1 - share) * loss(self.labels[partners])


class Rows:
    """Encoded rows with labels.

    Args:
        rows: raw rows.
        labels: class indices or values of the first rows, or the tags of their words; the rows
            after these have no label.
        encoder: encoder that turns rows into tensors.
    """

    def __init__(
        self,
        rows: Many,
        labels: Labels,
        encoder: Encoder,
    ) -> None:
        self._encoded = encoder.encode(rows)
        self._encoder = encoder
        self.lengths = np.asarray(encoder.lengths(self._encoded), np.int64)
        self.outputs = OutputRows(encoder, self._encoded)
        if isinstance(encoder, Aligned):
            self.labels = _of_words(labels, len(self.outputs))
        elif len(labels) and isinstance(labels[0], tuple | np.ndarray):
            sets = torch.tensor(np.array(labels), dtype=torch.float32)
            padding_sets = sets.new_full((len(rows) - len(labels), sets.shape[1]), math.nan)
            self.labels = torch.cat([sets, padding_sets])
        elif len(labels) and isinstance(labels[0], float):
            padding = [math.nan] * (len(rows) - len(labels))
            self.labels = torch.tensor([*labels, *padding], dtype=torch.float32)
        else:
            no_label = [-1] * (len(rows) - len(labels))
            self.labels = torch.tensor([*labels, *no_label], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the rows with these indices as a batch."""
        arrays = self._encoder.batch(self._encoded, indices)
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        rows = torch.from_numpy(self.outputs.at(indices))
        positions = self.outputs.positions(indices)
        return Batch(
            inputs,
            self.labels[rows],
            rows,
            positions=None if positions is None else torch.from_numpy(positions),
        )

    def parts(self, indices: array[int], count: int) -> list[tuple[array[int], float]]:
        """Return the rows of a batch in several parts, each with its share of the outputs.

        Args:
            indices: the rows of the batch.
            count: number of parts, at most: a part has 2 rows or more, which batch norm needs.
        """
        count = max(1, min(count, len(indices) // 2))
        ends = [len(indices) * done // count for done in range(count + 1)]
        parts = [indices[start:stop] for start, stop in itertools.pairwise(ends)]
        outputs = [len(self.outputs.at(part)) for part in parts]
        total = max(sum(outputs), 1)
        return [(part, number / total) for part, number in zip(parts, outputs, strict=True)]

    def in_order(self, size: int) -> list[list[int]]:
        """Return the indices of all rows in batches of similar length, shortest first."""
        order = np.argsort(self.lengths, kind="stable").tolist()
        return [order[start : start + size] for start in range(0, len(order), size)]

    def shuffled(self, size: int, seed: int, epoch: int, tokens: int = 0) -> list[array[int]]:
        """Return the indices of all rows in batches of similar length, shuffled for each epoch.

        Args:
            size: number of rows in a batch; with `tokens`, the maximum number.
            seed: seed of the order.
            epoch: number of the epoch, which changes the order.
            tokens: maximum number of time steps in a batch, including padding; 0 for a fixed
                number of rows.
        """
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(self))
        batches: list[array[int]] = []
        for start in range(0, len(order), size * _BATCHES_PER_BUCKET):
            bucket = order[start : start + size * _BATCHES_PER_BUCKET]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")].tolist()
            split = self._by_tokens(bucket, size, tokens) if tokens else _by_rows(bucket, size)
            # Arrays take less memory than lists: there may be millions of rows.
            batches += [array("q", indices) for indices in split]
        if not tokens and len(batches) > 1 and len(batches[-1]) == 1:  # batch norm needs 2 rows
            batches[-2].extend(batches.pop())
        return [batches[index] for index in generator.permutation(len(batches))]

    def _by_tokens(self, bucket: list[int], size: int, tokens: int) -> list[list[int]]:
        batches: list[list[int]] = [[]]
        for index in bucket:  # shortest first, so this row is the longest of its batch
            rows = len(batches[-1]) + 1
            if batches[-1] and (rows > size or rows * self.lengths[index] > tokens):
                batches.append([])
            batches[-1].append(index)
        return batches


def _of_words(labels: Labels, words: int) -> Tensor:
    """Return the tag and the number of the row of each word, int64 (words, 2).

    Args:
        labels: tags of the first rows.
        words: number of words of all rows; those without a tag have the tag -1.
    """
    tagged = labels if isinstance(labels, TagSequences) else TagSequences.of(list(labels))
    known = torch.from_numpy(np.array(tagged))
    return torch.cat([known, torch.full((words - len(known), 2), -1)])


def _by_rows(bucket: list[int], size: int) -> list[list[int]]:
    return [bucket[start : start + size] for start in range(0, len(bucket), size)]
