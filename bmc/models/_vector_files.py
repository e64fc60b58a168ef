"""Read word vectors: the built-in ones, or a user's text file as GloVe and word2vec write it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bmc import assets
from bmc.data_files import opened
from bmc.errors import DataError, MissingError
from bmc.families import VECTORS

_VALUES, _INDEX = "glove_6B_50d_emb.npy", "glove_6B_index.parquet"
_MOST_VALUES = 2048
_LONGEST_LINE = 100_000  # characters; 2,048 values of 17 significant digits fit
_SHAPE = re.compile(r"(\d+) (\d+)")
_BINARY = (".bin", ".gz", ".zip", ".npy", ".pt", ".model", ".parquet")


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors, in the order of their file: the most frequent ones first.

    Args:
        words: the words.
        values: float32 (words, width).
        is_cased: whether a word of the file has a capital letter.
    """

    words: tuple[str, ...]
    values: NDArray[np.float32]
    is_cased: bool


def read(reference: str, wanted: Collection[str], margin: int) -> WordVectors:
    """Read the vectors of some words, and of the first words of the file.

    Args:
        reference: name of built-in vectors, or path of a text file with a word and its values a
            line, separated by spaces. A first line with two whole numbers is word2vec's header.
        wanted: words to read.
        margin: number of words, the file's first ones, that are read as well.

    Raises:
        MissingError: the built-in vectors need a package that is not installed.
        DataError: the file is malformed, or has none of the wanted words.
        UnknownError: there is no such file.
    """
    if reference in VECTORS:
        vectors = _built_in(reference, wanted, margin)
    else:
        vectors = _of_file(Path(reference), wanted, margin)
    if not any(word in wanted for word in vectors.words):
        raise DataError(
            f"{reference} has a vector for none of the {len(wanted):,} words in the training "
            f"texts: is it for another language? Its first words are "
            f"{', '.join(vectors.words[:5])!r:.100}"
        )
    return vectors


def _built_in(name: str, wanted: Collection[str], margin: int) -> WordVectors:
    """Read vectors of an asset: an array, and a table with its words."""
    try:
        from pyarrow import parquet  # noqa: PLC0415  only this file needs it
    except ModuleNotFoundError as error:
        raise MissingError(
            f"the word vectors {name} need the package pyarrow: pip install "
            "'bmc-toolkit[parquet]'; or name a text file of word vectors"
        ) from error
    folder = assets.fetch(name)
    words = parquet.read_table(folder / _INDEX).column(0).to_pylist()
    chosen = [row for row, word in enumerate(words) if row < margin or word in wanted]
    values = np.load(folder / _VALUES, mmap_mode="r", allow_pickle=False)[chosen]
    return WordVectors(tuple(words[row] for row in chosen), values, _is_cased(words))


def _of_file(path: Path, wanted: Collection[str], margin: int) -> WordVectors:
    """Read a user's file; only the wanted words are kept in memory."""
    if path.suffix.lower() in _BINARY:
        raise DataError(
            f"{path} is no text file of word vectors: unpack it, or save it as text (in gensim: "
            "save_word2vec_format(path, binary=False))"
        )
    words: dict[str, NDArray[np.float32]] = {}
    number, width, is_cased = 0, 0, False
    with opened(path) as file:
        for number, word, values in _lines(path, file.readline):
            is_cased = is_cased or word != word.lower()
            width = width or _width(path, number, values)
            if values.count(" ") + 1 < width:
                raise DataError(
                    f"{path}: line {number} has {values.count(' ') + 1} values after the word "
                    f"{word!r:.40}, the first line has {width}: complete it, or remove it"
                )
            if values.count(" ") + 1 > width:
                continue  # the word has a space in it
            if word not in words and (len(words) < margin or word in wanted):
                words[word] = _vector(path, number, values.split(" "))
    if not words:
        raise DataError(
            f"{path} has no word vectors; name a file with a word and its values a line"
        )
    return WordVectors(tuple(words), np.stack(list(words.values())), is_cased)


def _lines(path: Path, readline: Callable[[int], str]) -> Iterator[tuple[int, str, str]]:
    """Yield the number, the word and the values, as text, of each line."""
    number = 0
    while line := readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise DataError(
                f"{path}: line {number} has more than {_LONGEST_LINE:,} characters, which is no "
                "word vector; save a word and its values a line"
            )
        if "\x00" in line:
            raise DataError(f"{path}: line {number} is binary; save the word vectors as text")
        line = line.rstrip(" \r\n")
        if not line or (number == 1 and _SHAPE.fullmatch(line)):
            continue
        word, _, values = line.partition(" ")
        yield number, word, values


def _width(path: Path, number: int, values: str) -> int:
    width = values.count(" ") + 1 if values else 0
    if not 2 <= width <= _MOST_VALUES:
        raise DataError(
            f"{path}: line {number} has {width} values after its word, separated by spaces; word "
            f"vectors have 2 to {_MOST_VALUES:,}: name a file with a word and its values a line"
        )
    return width


def _vector(path: Path, number: int, values: list[str]) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # infinity is refused below
            vector = np.array([float(value) for value in values]).astype(np.float32)
    except ValueError as error:
        raise DataError(
            f"{path}: line {number} has a value that is no number ({error}): correct it, or remove "
            "the line"
        ) from error
    if not np.isfinite(vector).all():
        raise DataError(
            f"{path}: line {number} has NaN, infinity or a value beyond 32 bits: correct it, or "
            "remove the line"
        )
    return vector


def _is_cased(words: Collection[str]) -> bool:
    return any(word != word.lower() for word in words)
