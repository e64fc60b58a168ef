"""Read rows of words with a tag each, from columns (.conll, .txt) or objects (.jsonl).

columns     a word and its tag on each line, an empty line between rows; the last column is the tag
tokens      {"tokens": ["Ada", "left"], "tags": ["B-PER", "O"]}
spans       {"text": "Ada left", "spans": [[0, 3, "PER"]]}, by characters
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bmc.data._dataset import Table
from bmc.data._json import objects
from bmc.data._values import characters
from bmc.data_files import opened
from bmc.errors import DataError, SettingError
from bmc.inputs.words import split_text
from bmc.label_names import SEPARATOR
from bmc.spaced_words import SpacedWords
from bmc.tag_schemes import BIO, OUTSIDE, first_break, marks_spans, parts_of, scheme_of, types_of

COLUMNS = (".conll", ".txt")
OBJECTS = (".jsonl", ".ndjson")
FORMATS = (*COLUMNS, *OBJECTS)
KIND = "words"
_DOCUMENT = "-DOCSTART-"
_KEYS = {"text": "tokens", "label": "tags"}  # names of columns, where none were named
_SHOWN = 8


@dataclass(frozen=True)
class TaggedRow:
    """The words of a row, with the tag of each.

    Args:
        words: the words.
        tags: the tags.
        lines: number of the line that each tag stands on.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    lines: Sequence[int]


def read(path: Path, columns: Sequence[str], label_column: str) -> Table:
    """Read rows of words with tags.

    Args:
        path: a file with one of the extensions in FORMATS.
        columns: name of the key of the words in a .jsonl file; ("text",) for the usual one.
        label_column: number of the tags' column, from 1, or name of the key in a .jsonl file;
            "label" for the last column, or the usual key.

    Raises:
        DataError: the file is of another format, a row is malformed, or tags break their scheme.
        SettingError: a column is named that this format does not have.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise DataError(
            f"--task tokens reads {', '.join(FORMATS)}, and {path} is another kind of file: save "
            "its rows as .jsonl, with the keys tokens and tags"
        )
    if ending in COLUMNS:
        return read_columns(path, columns, label_column)
    rows, notes = _of_objects(path, columns, label_column)
    return table_of(rows, str(path), notes)


def read_columns(
    path: Path, columns: Sequence[str] = ("text",), label_column: str = "label"
) -> Table:
    """Read a file of columns, whatever its name ends with; see `read`."""
    rows = list(_of_columns(path, columns, label_column))
    _refuse_numbers([row.words for row in rows], path)
    return table_of(rows, str(path))


def _refuse_numbers(rows: Sequence[tuple[str, ...]], path: Path) -> None:
    """Refuse rows whose words are the numbers 1, 2, 3 and so on.

    Raises:
        DataError: all rows are.
    """
    if rows and all(words == tuple(map(str, range(1, 1 + len(words)))) for words in rows):
        raise DataError(
            f"{path}: the first column numbers the words of each row, as CoNLL-X and CoNLL-U do; "
            "write a file with the columns of the word and its tag alone, for example "
            f"cut -f2,4 {path} for FORM and UPOS"
        )


def _first_columns(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the first columns of a file, an empty line between rows."""
    words = list[str]()
    with opened(path) as file:
        for line in file:
            if not line.strip() or line.startswith(_DOCUMENT):
                if words:
                    yield tuple(words)
                words = []
                continue
            words.append((line.split("\t") if "\t" in line else line.split())[0].strip())
    if words:
        yield tuple(words)


def in_memory(rows: Sequence[Any], tags: Sequence[Any], names: Sequence[str]) -> Table:
    """Return rows of words with tags as a table; see `bmc.data.words_in_memory`.

    Raises:
        DataError: a row is malformed.
    """
    if len(rows) != len(tags):
        raise DataError(f"data has {len(rows)} rows of words and {len(tags)} rows of tags")
    tagged = []
    for number, (words, row_tags) in enumerate(zip(rows, tags, strict=True), start=1):
        where = f"data: row {number}"
        named = _plain(row_tags)
        if isinstance(named, list):
            named = [_name_of(tag, names, where) for tag in named]
        tagged.append(_of_tokens(_plain(words), named, ("tokens", "tags"), where, number))
    return replace(table_of(tagged, "data"), classes=tuple(str(name).strip() for name in names))


def _plain(values: Any) -> Any:
    """Return a list of a tuple or an array; other values as they are."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return list(values) if isinstance(values, tuple) else values


def _name_of(tag: Any, names: Sequence[str], where: str) -> Any:
    """Return the name of a tag that may be an index of names."""
    if not isinstance(tag, int | np.integer):
        return tag
    if not names:
        return str(tag)
    if not 0 <= tag < len(names):
        raise DataError(f"{where} has the tag {tag}; there are {len(names)} names, from 0")
    return names[int(tag)]


def untagged(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Read rows of words without their tags.

    Args:
        path: a .conll file, whose first column holds the words, or a .jsonl file of objects with
            tokens or a text.
        columns: name of the key of the tokens or the text; ("text",) for the usual ones.

    Raises:
        DataError: a row is malformed.
        SettingError: a column is named that this format does not have.
    """
    if path.suffix.lower() in COLUMNS:
        if tuple(columns) != ("text",):
            raise SettingError(
                f"--transfer-column {columns[0]}: in {path} the first column holds the words; "
                "leave it out"
            )
        words = [words_in(row, f"{path}: a row") for row in _first_columns(path)]
        _refuse_numbers(words, path)
        return words
    key, rows = columns[0], []
    for number, record in objects(path):
        where = f"{path}: line {number}"
        name = "tokens" if key == "text" and "tokens" in record else key
        if name not in record:
            raise DataError(
                f"{where} has the keys {', '.join(map(str, record))[:100]}; it needs tokens or "
                "text (--transfer-column names another)"
            )
        rows.append(words_in(record[name], where))
    return rows


def words_in(row: Any, where: str) -> tuple[str, ...]:
    """Return the words of a row: of a text, split as a bundle splits it, or of a list of words.

    Args:
        row: a text, or a list or tuple of words.
        where: name of the row, for messages.

    Raises:
        DataError: it is neither, is empty, or a word has white space or a lone surrogate.
    """
    if isinstance(row, str) and row.strip():
        words = split_text(characters(row, where))
        return SpacedWords(words.words, words.text, words.starts)
    is_list = isinstance(row, list | tuple) and all(isinstance(word, str) for word in row)
    if isinstance(row, str) or not is_list or not row:
        raise DataError(f"{where} is {row!r:.60}; it must be a text, or a list of words")
    for word in row:
        if len(word.split()) != 1 or word != word.strip():
            raise DataError(
                f"{where}: the word {word!r:.40} is empty or has white space; split it, or remove "
                "it"
            )
    return tuple(characters(word, where) for word in row)


def table_of(rows: Sequence[TaggedRow], source: str, notes: Sequence[str] = ()) -> Table:
    """Return rows as a table, with their tags checked.

    Args:
        rows: the rows.
        source: the file, for messages.
        notes: notes of the reader.

    Raises:
        DataError: there are no rows, or tags break their scheme.
    """

    if not rows:
        raise DataError(f"{source} has no rows")
    tags = {tag for row in rows for tag in row.tags}
    scheme = _checked_scheme(rows, tags, source)
    words = sum(len(row.words) for row in rows)
    types = types_of(tags) if scheme else sorted(tags)
    listed = ", ".join(types[:_SHOWN]) + (", ..." if len(types) > _SHOWN else "")
    kind = f"{scheme} tags of {len(types)} types of spans" if scheme else f"{len(types)} plain tags"
    return Table(
        [row.words for row in rows],
        [SEPARATOR.join(row.tags) for row in rows],
        kind=KIND,
        notes=(f"{words:,} words with {kind} ({listed})", *notes),
    )


def _checked_scheme(rows: Sequence[TaggedRow], tags: set[str], source: str) -> str:
    """Return the scheme of the tags; "" for plain ones.

    Raises:
        DataError: a tag breaks the scheme, or some tags have prefixes and others have none.
    """
    with_prefix = {tag for tag in tags if parts_of(tag)[0]}
    if not with_prefix:
        return ""
    if not marks_spans(tags):
        row, index = next(
            (row, index)
            for row in rows
            for index, tag in enumerate(row.tags)
            if tag != OUTSIDE and tag not in with_prefix
        )
        raise DataError(
            f"{source}: line {row.lines[index]}: the tag {row.tags[index]!r:.60} has no prefix, "
            f"and others have one, such as {min(with_prefix)}: write O outside of spans, and B- or "
            "I- before each type"
        )
    scheme = scheme_of(tags)
    for row in rows:
        broken = first_break(row.tags, scheme)
        if broken:
            index, what = broken
            kind = parts_of(row.tags[index])[1]
            raise DataError(
                f"{source}: line {row.lines[index]}: the tag {row.tags[index]!r:.60} {what}, which "
                f"breaks {scheme}: {_way_out(scheme, kind)}"
            )
    return scheme


def _way_out(scheme: str, kind: str) -> str:
    if scheme == BIO:
        return f"the first word of a span has B-{kind}; change this tag, or those before it"
    return (
        f"a span is S-{kind}, or B-{kind}, any number of I-{kind}, and E-{kind}; change this tag, "
        "or those beside it"
    )


def _of_columns(path: Path, columns: Sequence[str], label_column: str) -> Iterator[TaggedRow]:
    """Yield the rows of a file of columns.

    Raises:
        DataError: a line has no tag, or another number of columns than the first.
        SettingError: the tags' column is not a number, or the words' column is named.
    """
    if tuple(columns) != ("text",):
        raise SettingError(
            f"--text-column {columns[0]}: in {path} the first column holds the words; leave it out"
        )
    column = _column_of(label_column, path)
    words, tags, lines, width = list[str](), list[str](), list[int](), 0
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            parts = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
            if not line.strip() or line.startswith(_DOCUMENT):
                if words:
                    yield TaggedRow(tuple(words), tuple(tags), tuple(lines))
                words, tags, lines = [], [], []
                continue
            width = width or len(parts)
            if len(parts) < 2 or len(parts) != width:
                raise DataError(
                    f"{path}: line {number} has {len(parts)} column(s), and "
                    f"{'the first has ' + str(width) if width > 1 else 'a word needs its tag'}: "
                    "write the word, white space and its tag, and an empty line between rows"
                )
            if column and column > width:
                raise SettingError(
                    f"--label-column {column}: line {number} of {path} has {width} columns"
                )
            word, tag = parts[0].strip(), parts[column - 1 if column else -1].strip()
            if not word or not tag or len(word.split()) > 1:
                raise DataError(
                    f"{path}: line {number}: the word {word!r:.40} or its tag {tag!r:.40} is empty "
                    "or has white space inside; write one word a line, with its tag"
                )
            words.append(word)
            tags.append(tag)
            lines.append(number)
    if words:
        yield TaggedRow(tuple(words), tuple(tags), tuple(lines))


def _column_of(label_column: str, path: Path) -> int:
    """Return the number of the tags' column, from 1; 0 for the last."""
    if label_column == "label":
        return 0
    if not label_column.isdecimal() or int(label_column) < 2:
        raise SettingError(
            f"--label-column {label_column}: {path} has no names of columns; give the number of "
            "the tags' column, from 2, or leave it out for the last"
        )
    return int(label_column)


def _of_objects(
    path: Path, columns: Sequence[str], label_column: str
) -> tuple[list[TaggedRow], list[str]]:
    """Return the rows of a .jsonl file, and notes on spans."""
    if len(columns) > 1:
        raise SettingError(f"--text-column names {len(columns)} columns; --task tokens reads one")
    key = _KEYS.get(columns[0], columns[0])
    tags_key = _KEYS.get(label_column, label_column)
    rows, widened = [], 0
    for number, record in objects(path):
        where = f"{path}: line {number}"
        if key in record and tags_key in record:
            rows.append(_of_tokens(record[key], record[tags_key], (key, tags_key), where, number))
        elif "text" in record and "spans" in record:
            row, count = _of_spans(record["text"], record["spans"], where, number)
            rows.append(row)
            widened += count
        else:
            raise DataError(
                f"{where} has the keys {', '.join(map(str, record))[:100]}; it needs {key} and "
                f"{tags_key}, or text and spans (--text-column and --label-column name others)"
            )
    if not widened:
        return rows, []
    return rows, [f"{widened} spans end inside a word, whose tag then holds for the whole word"]


def _of_tokens(tokens: Any, tags: Any, keys: tuple[str, str], where: str, number: int) -> TaggedRow:
    for values, key in ((tokens, keys[0]), (tags, keys[1])):
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise DataError(f"{where}: {key} is {values!r:.60}; it must be a list of texts")
    if not tokens:
        raise DataError(f"{where}: the row has no words; remove it")
    if len(tokens) != len(tags):
        raise DataError(
            f"{where} has {len(tokens)} {keys[0]} and {len(tags)} {keys[1]}; each word needs one "
            "tag"
        )
    for text in (*tokens, *tags):
        characters(text, where)
    for word, tag in zip(tokens, tags, strict=True):
        if len(word.split()) != 1 or word != word.strip() or not tag.strip():
            raise DataError(
                f"{where}: the word {word!r:.40} or its tag {tag!r:.40} is empty or has white "
                "space; split it, or remove it with its tag"
            )
        if SEPARATOR in tag:
            raise DataError(f"{where}: the tag {tag!r:.40} has the control character U+001F")
    return TaggedRow(tuple(tokens), tuple(tag.strip() for tag in tags), [number] * len(tokens))


def _of_spans(text: Any, spans: Any, where: str, number: int) -> tuple[TaggedRow, int]:
    """Return a row with the tags of its spans, and the number of spans that end inside a word."""
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where} has an empty text, or none ({text!r:.40}); remove the row")
    words = split_text(characters(text, where))
    tags, widened = [OUTSIDE] * len(words.words), 0
    end_before = 0
    for start, end, label in sorted(_checked(span, text, where) for span in _listed(spans, where)):
        if start < end_before:
            raise DataError(
                f"{where}: the span {start}..{end} ({label}) overlaps the span that ends at "
                f"{end_before}; a word has one tag: keep one of them"
            )
        end_before = end
        covered = [
            index
            for index, (first, stop) in enumerate(words.places)
            if first < end and stop > start
        ]
        if not covered or words.starts[covered[0]] < start or tags[covered[0]] != OUTSIDE:
            raise DataError(
                f"{where}: the span {start}..{end} ({label}, {text[start:end]!r:.40}) does not "
                "begin at the beginning of a word; correct its start"
            )
        widened += words.places[covered[-1]][1] > end
        for index in covered:
            tags[index] = f"{'B' if index == covered[0] else 'I'}-{label}"
    row = SpacedWords(words.words, words.text, words.starts)
    return TaggedRow(row, tuple(tags), [number] * len(tags)), widened


def _listed(spans: Any, where: str) -> list[Any]:
    if not isinstance(spans, list):
        raise DataError(
            f"{where}: spans is {spans!r:.60}; it must be a list of [start, end, label]"
        )
    return spans


def _checked(span: Any, text: str, where: str) -> tuple[int, int, str]:
    """Return the start, end and label of a span.

    Raises:
        DataError: they are of other types, or lie outside the text.
    """
    if isinstance(span, Mapping):
        span = [span.get(key) for key in ("start", "end", "label")]
    valid = isinstance(span, list) and len(span) == 3
    if not valid or type(span[0]) is not int or type(span[1]) is not int:
        raise DataError(
            f"{where}: a span is {span!r:.60}; write [start, end, label], with whole numbers"
        )
    start, end, label = span
    if not isinstance(label, str) or not label.strip() or SEPARATOR in label:
        raise DataError(f"{where}: the span {start}..{end} has the label {label!r:.40}; name one")
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{where}: the span {start}..{end} ({label}) is outside of the text, which has "
            f"{len(text)} characters: start and end count characters from 0, and end is the index "
            "after the last"
        )
    return start, end, label.strip()
