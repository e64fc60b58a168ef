"""The parts of a data set, and what can be counted in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import EMBEDDING
from bmc.data._summary import Summary
from bmc.errors import DataError
from bmc.inputs import Many
from bmc.inputs.features import listed
from bmc.inputs.image import shape_of
from bmc.tag_sequences import TagSequences

Labels = Sequence[Any]
"""Class indices, numbers, or of several labels a row tuples with 0 or 1 for each label."""


@dataclass(frozen=True)
class Examples:
    """The rows of one part of a data set.

    Args:
        rows: raw rows: tuples of texts, images (a uint8 array, or files), clips of sound (an int16
            array, or files), series, or tuples of arrays.
        labels: class index of each row, -1 for a row without a label; a number in a regression; of
            several labels a row, a tuple with 0 or 1 for each; of words, `TagSequences`.
    """

    rows: Many
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def spaced(self, count: int) -> Examples:
        """Return at most `count` rows, at equal distances: rows may be sorted by their class."""
        step = _step(len(self), count)
        return Examples(self.rows[::step], self.labels[::step])

    def at(self, places: Sequence[int]) -> Examples:
        """Return the rows at some places."""
        rows, labels = ([values[place] for place in places] for values in (self.rows, self.labels))
        of_arrays: Any = np.stack(labels) if isinstance(self.labels, np.ndarray) else tuple(labels)
        return Examples(tuple(rows), of_arrays)


@dataclass(frozen=True)
class Table:
    """The rows of a data set before the split.

    Args:
        rows: raw rows, all of one kind.
        labels: class name of each row; a number as text in a regression; of several labels a row,
            their names as `bmc.label_names.joined` writes them; of words, their tags with
            `bmc.label_names.SEPARATOR` between them.
        official_test: rows that the authors of the data set aside as the test part.
        kind: kind of the rows: "text", "words", "image", "audio", "series", "features" or "array".
        numbers: the labels were floating-point numbers, so that fractions are not class names.
        notes: sentences on decisions of the reader.
        classes: class names in the order of a network's outputs; sorted by name when empty.
        features: names of the numbers in a row, where rows are float64 (rows, numbers) with NaN
            for missing values, or arrays of one axis.
        several: whether a row has several labels.
        validation: True for the rows that the authors of the data set aside as the validation part,
            bool (rows); None where they set none aside.
        groups: name of each row's group, such as its speaker, where all rows of a group belong in
            one part; empty where rows are split one by one.
    """

    rows: Many
    labels: Sequence[str]
    official_test: Table | None = None
    kind: str = "text"
    numbers: bool = False
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    several: bool = False
    validation: NDArray[np.bool_] | None = None
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set that was checked and split.

    Args:
        name: name of the data set in reports.
        kind: kind of the rows.
        task: name of the task, such as "classification".
        columns: names of the text columns; empty for other kinds.
        labels: class names in the order of their indices; empty in a regression.
        train: the training part.
        validation: the validation part, by which models and settings are chosen.
        test: the held-out part.
        fingerprint: sha256 of all rows and labels before the split, and of a user's lists and
            groups, which decide it.
        summary: counts, and decisions of the reader.
        location: the reference with an absolute path; None for the name of a data set.
        features: names of the numbers in a row; empty where rows are none of named numbers.
        unlabeled: rows without labels, in no part, from which a student's network may take its
            vocabulary; empty where there is no student.
    """

    name: str
    kind: str
    task: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    fingerprint: str
    summary: Summary
    location: str | None = None
    features: tuple[str, ...] = ()
    unlabeled: Many = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of input that the rows can be: named numbers are arrays of one axis, too."""
        return ("features", "array") if self.features else (self.kind,)

    def described(self) -> str:
        """Return the counts and parts of the data set, in one line."""
        columns = f" from {' and '.join(map(repr, self.columns))}" if self.columns else ""
        if self.features:
            columns = f" {len(self.features)} ({listed(self.features)})"
        return (
            f"{self.name}: {self.kind}{columns}, {self.summary.counts()}; {len(self.train)} to "
            f"train on, {len(self.validation)} to choose by, {len(self.test)} held out"
        )


def count_of_spaced(total: int, count: int) -> int:
    """Return how many rows `Examples.spaced` takes of `total`: at most `count`, more than half."""
    return -(-total // _step(total, count))


def _step(total: int, count: int) -> int:
    return max(-(-total // count), 1)


def with_fewer_rows(
    data: Dataset, train: int | None = None, validation: int | None = None
) -> Dataset:
    """Return a data set with fewer rows, at equal distances.

    Args:
        data: the data set.
        train: training rows, at most; None for all.
        validation: validation rows, at most; None for all.
    """
    return replace(
        data,
        train=data.train if train is None else data.train.spaced(train),
        validation=data.validation if validation is None else _spaced(data, validation),
    )


def _spaced(data: Dataset, count: int) -> Examples:
    """Return validation rows at equal distances; both rows of a pair of sentences, or neither."""
    part = data.validation
    if not are_pairs(data, part):
        return part.spaced(count)
    step = _step(len(part) // 2, max(count // 2, 1))
    return part.at([at for first in range(0, len(part), 2 * step) for at in (first, first + 1)])


def are_pairs(data: Dataset, part: Examples) -> bool:
    """Tell whether each two rows of a part are a pair of sentences with a similarity."""
    is_embedded = data.task == EMBEDDING and len(part) > 0
    return is_embedded and bool(np.isfinite(_similarity(part.labels[0])))


def _similarity(label: Any) -> float:
    """Return the similarity of a row's pair; NaN for a row that is in none, or has a class."""
    if isinstance(label, int | np.integer):
        return float("nan")
    return float(np.ravel(label)[-1])


def check_same(data: Dataset, fingerprint: object, model: str) -> None:
    """Check that a model was trained on this data, so that the test rows were held out.

    Args:
        data: the data set.
        fingerprint: the recorded fingerprint of the training data.
        model: name of the model, for the message.

    Raises:
        DataError: the fingerprints differ.
    """
    if data.fingerprint != fingerprint:
        raise DataError(
            f"{data.name!r} is not the data that {model} was trained on "
            f"(fingerprint {data.fingerprint[:12]}, recorded {str(fingerprint)[:12]}): its "
            "held-out rows may have been trained on; name the right one with --data"
        )


def histogram(examples: Examples, labels: Sequence[str]) -> dict[str, int]:
    """Count the rows of each class, or with each label; of words, the words with each tag."""
    if isinstance(examples.labels, TagSequences):
        tags = Counter(examples.labels.tags.tolist())
        return {label: tags[number] for number, label in enumerate(labels)}
    codes = np.array(examples.labels)
    if codes.ndim == 2:
        return dict(zip(labels, codes.sum(axis=0).tolist(), strict=True))
    counts = Counter(examples.labels)
    return {label: counts[number] for number, label in enumerate(labels)}


def lengths(examples: Examples, kind: str) -> NDArray[np.int32]:
    """Return the length of each row: words of a text, steps of a series; empty for other kinds."""
    if kind == "words":
        return np.fromiter((len(row) for row in examples.rows), np.int32, len(examples))
    if kind == "text":
        words = (sum(len(text.split()) for text in row) for row in examples.rows)
        return np.fromiter(words, np.int32, len(examples))
    steps = [len(row) for row in examples.rows] if kind == "series" else []
    return np.array(steps, np.int32)


def image_shape(data: Dataset) -> tuple[int, int, int]:
    """Return the default (height, width, channels) of a model for these images.

    The size is the most common size of the training images, and the largest of equally common
    sizes. There are 3 channels if any training image has color. An encoder converts images of
    another size or number of channels.

    Raises:
        DataError: the data does not hold images, or an image cannot be read.
    """
    if data.kind != "image":
        raise DataError(f"{data.name!r} holds {data.kind}, not images")
    rows = data.train.rows
    if isinstance(rows, np.ndarray):
        _, height, width, channels = rows.shape
        return height, width, channels
    shapes = Counter(shape_of(row) for row in rows)
    sizes: Counter[tuple[int, int]] = Counter()
    for (height, width, _), count in shapes.items():
        sizes[height, width] += count
    height, width = max(sizes, key=lambda size: (sizes[size], size))
    return height, width, max(channels for _, _, channels in shapes)
