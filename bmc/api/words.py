"""Rows of words with tags that a caller passes, and the tokenizer of a wrapped token classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bmc.api.frames import column_names
from bmc.data import Table, words_in_memory, words_table
from bmc.errors import DataError, UnknownError, UsageError
from bmc.inputs.text import TOKENIZER, TextSettings, load_tokenizer
from bmc.inputs.words import WordEncoder

_WORDS, _TAGS = "tokens", ("tags", "ner_tags", "pos_tags", "labels")
_PADDING = ("[PAD]", "<pad>")


def words_of(data: Any, names: Sequence[str] | None, label_column: str | None) -> Table:
    """Return rows of words with tags as a table.

    Args:
        data: a file or the name of a data set that `--task tokens` reads; `(words, tags)`, each a
            list with a list for every row; or columns by name with the words in "tokens": a
            dictionary, a `datasets.Dataset` or a data frame.
        names: names of the tags, in the order of a network's outputs; sorted by name when None.
            Tags that are numbers are indices of these names.
        label_column: name of the column of tags, or its number in a file of columns; found by
            itself when None.

    Raises:
        DataError: the data is of another form, or a row is malformed.
    """
    classes = tuple(str(name).strip() for name in names or ())
    if isinstance(data, str | Path):
        table = words_table(str(data), label_column or "label")
        return replace(table, classes=classes)
    if isinstance(data, tuple) and len(data) == 2:
        return words_in_memory(list(data[0]), list(data[1]), classes)
    columns = column_names(data)
    if columns is None:
        raise DataError(
            f"data is {type(data).__name__}; for task='tokens' give a file, (words, tags), or "
            "columns named tokens and tags"
        )
    present = [str(name) for name in columns]
    tags = next((name for name in (label_column, *_TAGS) if name in present), None)
    if _WORDS not in present or tags is None or (label_column and label_column != tags):
        raise DataError(
            f"the data has the columns {', '.join(present)}; task='tokens' needs {_WORDS} and "
            f"{label_column or _TAGS[0]} (label_column names the column of tags)"
        )
    return words_in_memory(list(data[_WORDS]), list(data[tags]), classes or _names_in(data, tags))


def encoder_of(tokenizer: Any, max_length: int) -> WordEncoder:
    """Return the encoder of a wrapped token classifier.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, a fast tokenizer of transformers, or the path of a
            tokenizer.json or of its folder.
        max_length: largest number of tokens that the network reads at once.

    Raises:
        UsageError: there is no tokenizer, or it is of another type.
        UnknownError: there is no such file.
        SettingError: `max_length` is out of range.
    """
    if isinstance(tokenizer, str | Path):
        path = Path(tokenizer)
        path = path / TOKENIZER if path.is_dir() else path
        if not path.is_file():
            raise UnknownError(f"no tokenizer {str(path)!r}; tokenizer takes a tokenizer.json")
        backend: Any = load_tokenizer(path)
    else:
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, Tokenizer):
        what = "is missing" if tokenizer is None else f"is {type(tokenizer).__name__}"
        raise UsageError(
            f"tokenizer {what}; task='tokens' needs the one whose token ids the network takes: a "
            "tokenizers.Tokenizer, a fast tokenizer of transformers, or the path of a "
            "tokenizer.json"
        )
    pad_id = _pad_id(tokenizer, backend)
    return WordEncoder(backend, TextSettings(max_length, pad_id=pad_id))


def refuse_unread(**arguments: Any) -> None:
    """Refuse arguments of `bmc.wrap` that say nothing about words with tags.

    Raises:
        UsageError: one of them is given.
    """
    for name, value in arguments.items():
        if value is not None:
            raise UsageError(
                f"{name} is not for task='tokens', whose networks take input_ids and "
                "attention_mask, and whose loss and scores are those of words: leave it out"
            )


def _names_in(data: Any, column: str) -> tuple[str, ...]:
    """Return the names of the tags of a `datasets.Dataset`; () where it has none."""
    features = getattr(data, "features", None)
    feature = features.get(column) if isinstance(features, Mapping) else None
    return tuple(getattr(getattr(feature, "feature", None), "names", None) or ())


def _pad_id(tokenizer: Any, backend: Tokenizer) -> int:
    """Return the id of the padding; 0 where the tokenizer names none."""
    ids = [getattr(tokenizer, "pad_token_id", None), (backend.padding or {}).get("pad_id")]
    ids += [backend.token_to_id(name) for name in _PADDING]
    return next((token_id for token_id in ids if token_id is not None), 0)
