"""Read rows without labels, for a teacher to predict: texts, words, images, series or arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import memory
from bmc.contracts.data_sets import data_set, with_sentences
from bmc.data._arrays import image_rows, series_rows, unlabeled_rows
from bmc.data._audiofolder import clips_below
from bmc.data._features import rows_of, unlabeled
from bmc.data._imagefolder import images_below
from bmc.data._tables import FORMATS, records
from bmc.data._values import Values, characters
from bmc.data_files import check_file, opened
from bmc.errors import DataError, unknown
from bmc.inputs import Many
from bmc.inputs.audio import read_clip
from bmc.inputs.features import FeatureEncoder, FeatureSettings, is_frame, rows_of_frame
from bmc.inputs.series import check_series

_IMAGES, _SOUNDS = "imagefolder:", "audiofolder:"
_FILES_OF_WORDS = (".conll", ".jsonl", ".ndjson")
HINT = (
    "or a .txt, .csv, .tsv, .jsonl, .json, .parquet or .npz file, or imagefolder:DIR or "
    "audiofolder:DIR with images or sounds in any folders"
)


def read(
    reference: str,
    kind: str,
    columns: Sequence[str],
    features: Sequence[str] = (),
    option: str = "--transfer-column",
) -> tuple[Many, str]:
    """Read the rows of a source without their labels.

    Args:
        reference: a data set with `sentences`, a .txt file (one text per line), a table, an .npz
            file, imagefolder:DIR, audiofolder:DIR, or memory:NAME; of words a .conll file, too.
        kind: kind of the data's rows: "text", "words", "image", "audio", "series", "features" or
            "array".
        columns: names of a table's text columns.
        features: names of a table's columns of numbers, in data of such rows.
        option: the option that names the text columns, for messages.

    Returns:
        the rows, and their kind.

    Raises:
        UnknownError: there is no such data set, file or folder.
        DataError: the source cannot be read, or a column is missing.
    """
    if reference.startswith(memory.PREFIX):
        rows = memory.rows(reference.removeprefix(memory.PREFIX))
        if features:
            return _numbers(rows, features), kind
        return _passed(rows, kind, len(columns)), kind
    if reference.startswith(_IMAGES):
        return images_below(reference.removeprefix(_IMAGES)), "image"
    if reference.startswith(_SOUNDS):
        return clips_below(reference.removeprefix(_SOUNDS)), "audio"
    path = Path(reference)
    ending = path.suffix.lower()
    if kind == "words" and ending in _FILES_OF_WORDS:
        check_file(path, "file with transfer rows")
        return _of_words(path, columns), "words"
    if ending == ".txt":
        return _lines(path), "text"
    if ending in FORMATS and kind == "features":
        check_file(path, "table with transfer rows")
        return unlabeled(path, features), "features"
    if ending in FORMATS:
        return _of_table(path, columns, option), "text"
    if ending == ".npz":
        check_file(path, "file with unlabeled rows")
        return unlabeled_rows(path)
    return [(text,) for text in _sentences_of(reference)], "text"


def is_users(reference: str) -> bool:
    """Tell whether a reference is a caller's own rows, which may hold duplicates."""
    return ":" in reference or bool(Path(reference).suffix)


def _sentences_of(reference: str) -> Sequence[str]:
    """Return the unlabeled texts of a data set.

    Raises:
        UnknownError: there is no such data set, or it has none.
    """
    known = with_sentences()
    sentences = data_set(reference).sentences if reference in known else None
    if sentences is None:
        raise unknown("transfer set", reference, [*known, "none"], HINT)
    return sentences()


def _of_words(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the rows of a file of words; see `bmc.data._tokens.untagged`."""
    from bmc.data import _tokens  # noqa: PLC0415  needs tokenizers, which only texts need

    return _tokens.untagged(path, columns)


def words_of_texts(rows: Sequence[Any], source: str) -> list[tuple[str, ...]]:
    """Return texts, or rows of words, as rows of words; texts are split as a bundle splits them.

    Raises:
        DataError: a row is neither.
    """
    from bmc.data import _tokens  # noqa: PLC0415  needs tokenizers, which only texts need

    return [
        _tokens.words_in(row, f"{source}: row {number}") for number, row in enumerate(rows, start=1)
    ]


def _lines(path: Path) -> list[tuple[str]]:
    """Return the texts of a file, one a line; blank lines are skipped."""
    check_file(path, "file with transfer texts, one per line,")
    with opened(path) as file:
        return [
            (characters(line.strip(), f"{path}: line {number}"),)
            for number, line in enumerate(file, start=1)
            if line.strip()
        ]


def _of_table(path: Path, columns: Sequence[str], option: str) -> list[tuple[str, ...]]:
    """Return the named columns of a table.

    Raises:
        DataError: a column is missing, or a value is no text.
    """
    check_file(path, "table with transfer texts")
    rows, values = records(path, columns, f"Name yours with {option}")
    return [
        tuple(values.text(*pair, number) for pair in zip(texts, columns, strict=True))
        for number, texts in rows
    ]


def _passed(rows: Any, kind: str, columns: int) -> Many:
    """Return rows that a Python caller passed, as rows of a kind.

    Raises:
        DataError: they are none of this kind.
    """
    values = Values("transfer")
    has_names = (
        isinstance(rows, Mapping) or hasattr(rows, "columns") or hasattr(rows, "column_names")
    )
    if kind != "features" and has_names:
        raise DataError(
            f"transfer is a {type(rows).__name__}, whose items are its columns' names: pass the "
            "rows themselves, such as list(frame['text'])"
        )
    if isinstance(rows, np.ndarray) and kind == "image":
        return image_rows(rows, "transfer", values)
    if isinstance(rows, np.ndarray) and kind == "series":
        return series_rows(rows, "transfer", values)
    if kind == "text":
        return [_texts(row, number, values, columns) for number, row in enumerate(rows, start=1)]
    if kind == "words":
        return words_of_texts(list(rows), "transfer")
    if kind == "series":
        return [_series(row, number) for number, row in enumerate(rows, start=1)]
    if kind == "array":
        return _tuples(rows)
    if kind == "audio":
        return [_clip(row, number) for number, row in enumerate(rows, start=1)]
    raise DataError(
        f"transfer holds {type(rows).__name__}; images are one uint8 array (rows, height, width, "
        "channels), or imagefolder:DIR"
    )


def _texts(row: Any, number: int, values: Values, columns: int) -> tuple[str, ...]:
    texts = (row,) if isinstance(row, str) else tuple(row) if isinstance(row, list | tuple) else ()
    if len(texts) != columns:
        raise DataError(f"transfer: row {number} must hold {columns} text(s): {row!r:.60}")
    return tuple(values.text(text, "text", number) for text in texts)


def _clip(row: Any, number: int) -> NDArray[np.float32]:
    try:
        return read_clip(row)
    except DataError as error:
        raise DataError(f"transfer: row {number}: {error}") from error


def _series(row: Any, number: int) -> NDArray[np.float32]:
    array = np.asarray(row)
    if array.dtype.kind not in "fiub" or array.ndim != 2:
        raise DataError(f"transfer: row {number} must be an array of numbers (steps, channels)")
    series = array.astype(np.float32)
    check_series(series, f"transfer: row {number}")
    return series


def _numbers(rows: Any, features: Sequence[str]) -> NDArray[np.float64]:
    """Return rows of named numbers: dictionaries, tuples, a data frame, or one array (rows, n).

    The array may stand in a tuple, as arrays of a network of several inputs do.
    """
    if isinstance(rows, tuple) and len(rows) == 1 and np.ndim(rows[0]) == 2:
        rows = rows[0]
    if is_frame(rows):
        rows = rows_of_frame(rows)
    settings = FeatureSettings(tuple(features), *[(0.0,) * len(features)] * 3)
    return rows_of(FeatureEncoder(settings).values_of(rows))


def _tuples(rows: Any) -> list[tuple[Any, ...]]:
    """Return one array (rows, ...), or a tuple of arrays, one an input, as tuples of arrays."""
    arrays = rows if isinstance(rows, tuple) else (rows,)
    if not all(isinstance(array, np.ndarray) for array in arrays):
        raise DataError("transfer must be an array (rows, ...), or a tuple with one for each input")
    if len({len(array) for array in arrays}) > 1:
        raise DataError(f"transfer has arrays of {[len(array) for array in arrays]} rows")
    return list(zip(*arrays, strict=True))
