"""Scores of sentence vectors: similarities and neighbors of a reference model, and labels.

A row's label is one array: the reference's vector, the index of the row's class (-1 for none), and
the labeled similarity of the row's pair (NaN for none). The two texts of a pair are neighboring
rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bmc.measure.scores import Interval, bootstrap, share_of

Vectors = NDArray[np.float32]
Labels = NDArray[np.float32]
Floats = NDArray[np.float64]

EXTRA = 2  # numbers in a label after the reference's vector: class and similarity
NEIGHBORS = 10
MAX_PAIRS = 10_000
MAX_QUERIES = 1_000
_BLOCK = 256  # queries whose similarities are in memory at once
_TIE = 1e-6  # cosines that differ less are equal: more than rounding changes those of equal texts


@dataclass(frozen=True)
class Truth:
    """The labels of rows, taken apart.

    Args:
        vectors: the reference's vectors, of length 1, (rows, width).
        classes: class indices (rows); -1 for none.
        similarities: labeled similarity of the row's pair (rows); NaN for none.
    """

    vectors: Vectors
    classes: NDArray[np.int64]
    similarities: Floats

    @staticmethod
    def of(labels: Labels) -> Truth:
        """Take labels (rows, width + 2) apart."""
        return Truth(
            unit(labels[:, :-EXTRA]),
            labels[:, -2].astype(np.int64),
            labels[:, -1].astype(np.float64),
        )


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Return vectors of length 1; a vector of zeros stays as it is."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled


def pairs_of(rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of up to 10,000 different pairs of rows, always drawn the same way."""
    possible = rows * (rows - 1) // 2
    generator = np.random.default_rng(0)
    if possible <= MAX_PAIRS:
        first, second = np.triu_indices(rows, 1)
        return first.astype(np.int64), second.astype(np.int64)
    numbers = np.unique(generator.integers(0, rows * (rows - 1), 2 * MAX_PAIRS))
    numbers = generator.permutation(numbers)[:MAX_PAIRS]
    first, second = numbers // (rows - 1), numbers % (rows - 1)
    return first, second + (second >= first)


def spearman(values: Floats, truth: Floats) -> Interval:
    """Return Spearman's rank correlation, with its bootstrap interval over pairs of numbers."""
    first, second = _ranks(values), _ranks(truth)

    def correlation(chosen: NDArray[np.int64]) -> float:
        return _correlation(first[chosen], second[chosen], np.ones(len(chosen)))

    return bootstrap(correlation, len(values))


def _correlation(left: Floats, right: Floats, weights: Floats) -> float:
    """Return Pearson's correlation of weighted pairs; 0 where one side is constant."""
    total = max(float(weights.sum()), 1e-12)
    left, right = left - weights @ left / total, right - weights @ right / total
    spread = np.sqrt((weights @ left**2) * (weights @ right**2))
    return float((weights * left) @ right) / max(float(spread), 1e-12)


def similarity(outputs: Vectors, truth: Truth) -> Interval:
    """Return Spearman's correlation of the cosine similarities of pairs with the reference's.

    The interval resamples rows, each of which is in many pairs.
    """
    first, second = pairs_of(len(outputs))
    vectors = unit(outputs)
    ours, theirs = (
        np.einsum("ij,ij->i", each[first], each[second]).astype(np.float64)
        for each in (vectors, truth.vectors)
    )
    left, right = _ranks(ours), _ranks(theirs)

    def correlation(rows: NDArray[np.int64]) -> float:
        times = np.bincount(rows, minlength=len(outputs)).astype(np.float64)
        return _correlation(left, right, times[first] * times[second])

    return bootstrap(correlation, len(outputs))


def labeled_similarity(outputs: Vectors, truth: Truth) -> Interval | None:
    """Return Spearman's correlation of the similarities of labeled pairs; None without pairs."""
    if not np.isfinite(truth.similarities).all():
        return None
    vectors = unit(outputs)
    cosines = np.einsum("ij,ij->i", vectors[::2], vectors[1::2]).astype(np.float64)
    return spearman(cosines, truth.similarities[::2])


def recalls(outputs: Vectors, reference: Vectors) -> Floats:
    """Return for each query which share of its ten nearest rows is the reference's: (queries).

    Up to 1,000 evenly spaced rows are queries; their neighbors are sought among all other rows. Of
    fewer than 21 rows, half of the other rows are compared: all of them would always be common.
    Rows that are as similar as the last of the reference's ten count as the reference's, too: which
    of several equal texts are among the ten is chance.

    Args:
        outputs: vectors (rows, width).
        reference: vectors of the reference, of length 1, of any width.
    """
    queries = queries_of(len(outputs))
    count = neighbors_of(len(outputs))
    ours = nearest(unit(outputs), queries, count)
    shares = []
    for start in range(0, len(queries), _BLOCK):
        part = slice(start, start + _BLOCK)
        cosines = _cosines(reference, queries[part])
        least = np.partition(cosines, -count, axis=1)[:, -count, None]
        chosen = np.take_along_axis(cosines, ours[part], axis=1)
        shares.append((chosen >= least - _TIE).mean(axis=1))
    return np.concatenate(shares)


def neighbors_of(rows: int) -> int:
    """Return the number of neighbors that are compared among a number of rows."""
    return max(1, min(NEIGHBORS, (rows - 1) // 2))


def queries_of(rows: int) -> NDArray[np.int64]:
    """Return the indices of the rows whose neighbors are compared."""
    return np.unique(np.linspace(0, rows - 1, min(rows, MAX_QUERIES)).round().astype(np.int64))


def nearest(vectors: Vectors, queries: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the indices of the most similar other rows of each query: (queries, count).

    Args:
        vectors: vectors of length 1, (rows, width).
        queries: indices of rows.
        count: number of neighbors.
    """
    parts = []
    for start in range(0, len(queries), _BLOCK):
        cosines = _cosines(vectors, queries[start : start + _BLOCK])
        parts.append(np.argpartition(-cosines, count - 1, axis=1)[:, :count])
    return np.concatenate(parts)


def _cosines(vectors: Vectors, queries: NDArray[np.int64]) -> Vectors:
    """Return the similarity of queries and rows, (queries, rows); -inf of a row with itself."""
    cosines: Vectors = vectors[queries] @ vectors.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    return cosines


def neighbors_accuracy(vectors: Vectors, classes: NDArray[np.int64]) -> Interval | None:
    """Return how often the ten nearest rows vote for a row's class; None where rows lack classes.

    Args:
        vectors: vectors (rows, width).
        classes: class indices (rows).
    """
    if len(classes) < 2 or classes.min() < 0 or classes.min() == classes.max():
        return None
    queries = queries_of(len(vectors))
    neighbors = classes[nearest(unit(vectors), queries, min(NEIGHBORS, len(vectors) - 1))]
    votes = np.stack([np.bincount(row, minlength=classes.max() + 1) for row in neighbors])
    return share_of((votes.argmax(axis=1) == classes[queries]).astype(np.float64))


def _ranks(values: Floats) -> Floats:
    """Return the rank of each value; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    ranks: Floats = mean_rank[places]
    return ranks
