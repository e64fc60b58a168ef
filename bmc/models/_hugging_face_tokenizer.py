"""The tokenizer of a Hugging Face folder, as transformers' own AutoTokenizer makes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer

from bmc.errors import ArtifactError
from bmc.inputs.text import beyond_table, check_tokenizer, panics_refused
from bmc.untrusted import read_bytes, read_json

_MOST_BYTES = 32 * 2**20
_JSONS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
_TEXTS = ("vocab.txt", "merges.txt")
# transformers would open what these name, wherever it lies.
_NAMES_OF_FILES = (
    *("vocab_file", "merges_file", "spm_file", "gguf_file", "fast_tokenizer_files"),
    *("tokenizer_object", "init_inputs"),
)


@dataclass(frozen=True)
class FolderTokenizer:
    """A folder's tokenizer, and what transformers does with it.

    Args:
        tokenizer: without padding and truncation.
        class_name: of the class that transformers chose.
        pad_id: None where it has no padding token.
        truncation_side: the end at which a long text is cut.
        max_length: tokens that it was made for at most; None where it does not say.
        pair_types: whether the model is told which text of a pair a token came from.
        dropped: tokens that transformers adds by itself and the model has no rows for.
    """

    tokenizer: Tokenizer
    class_name: str
    pad_id: int | None
    truncation_side: str
    max_length: int | None
    pair_types: bool
    dropped: tuple[str, ...] = ()


def tokenizer_of(folder: Path, rows: int, types: int) -> FolderTokenizer:
    """Load a folder's tokenizer as `AutoTokenizer.from_pretrained(folder)` does.

    Args:
        folder: with tokenizer.json, or with what transformers makes a tokenizer of.
        rows: of the model's token table.
        types: token types that the model knows.

    Raises:
        ArtifactError: there is none, it is out of bounds, it is none of the tokenizers package, or
            it makes ids or types that the model has no row for.
    """
    written = _checked_files(folder)
    with panics_refused(f"{folder}: transformers makes no tokenizer of it"):
        made: Any = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    name = type(made).__name__
    if not isinstance(getattr(made, "backend_tokenizer", None), Tokenizer):
        raise ArtifactError(
            f"{folder}: {name} is written in Python and cannot be taken to a device; save the "
            "folder with a tokenizer that has a tokenizer.json"
        )
    if getattr(made, "split_special_tokens", False):
        raise ArtifactError(
            f"{folder}: split_special_tokens is on, which no tokenizer.json can say; save the "
            "tokenizer without it"
        )
    content = json.loads(made.backend_tokenizer.to_str())
    dropped = _drop_unwritten(content, rows, written, made)
    try:
        check_tokenizer(content, rows)
    except ValueError as error:
        raise ArtifactError(f"{folder}: its tokenizer cannot be used: {error}") from error
    with panics_refused(f"{folder}: its tokenizer cannot be used"):
        tokenizer = Tokenizer.from_str(json.dumps(content))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        single, pair = tokenizer.encode("a").type_ids, tokenizer.encode("a", "a").type_ids
    _check_rows(tokenizer, rows, folder)
    names, longest = made.model_input_names, made.model_max_length
    if not isinstance(names, list | tuple) or type(longest) not in (int, float):
        raise ArtifactError(
            f"{folder}: tokenizer_config.json: model_input_names is {names!r:.60} and "
            f"model_max_length {longest!r:.40}; a list and a number belong there"
        )
    typed = "token_type_ids" in names
    if typed and (any(single) or max(pair, default=0) >= max(types, 2)):
        raise ArtifactError(
            f"{folder}: its tokenizer makes token types that the model does not take: {single} for "
            f"one text, {pair} for two"
        )
    return FolderTokenizer(
        tokenizer,
        name,
        None if made.pad_token is None else made.pad_token_id,
        made.truncation_side,
        int(longest) if 0 <= longest < 2**31 else None,
        typed,
        dropped,
    )


def _checked_files(folder: Path) -> str:
    """Check the files that transformers will read, and return what they say, as one text.

    Raises:
        ArtifactError: one is too large or no JSON, or names files or code elsewhere.
    """
    texts: list[str] = []
    for name in (*_JSONS, *_TEXTS, "tokenizer.json"):
        path = folder / name
        if not path.exists():
            continue
        if name in _TEXTS:
            data = read_bytes(path, "Hugging Face model folder", _MOST_BYTES, links=True)
            texts.append(data.decode(errors="replace"))
            continue
        content = read_json(path, "Hugging Face model folder", links=True, max_bytes=_MOST_BYTES)
        texts.append(json.dumps(content, ensure_ascii=False))
        if name == "tokenizer.json":
            _check_tokenizer(content, path)
        if name == "tokenizer_config.json":
            named = [key for key in _NAMES_OF_FILES if content.get(key)]
            if named:
                raise ArtifactError(f"{path}: {named[0]} is set, which bmc does not follow")
    if not texts:
        raise ArtifactError(
            f"{folder} has no tokenizer: save it beside the model, with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    return "\n".join(texts)


def _check_tokenizer(content: dict[str, Any], path: Path) -> None:
    try:
        check_tokenizer(content)
    except ValueError as error:
        raise ArtifactError(f"{path} is no tokenizer that bmc can read: {error}") from error


def _drop_unwritten(content: dict[str, Any], rows: int, written: str, made: Any) -> tuple[str, ...]:
    """Take out the tokens that no file names, which transformers adds behind the model's rows.

    A BertTokenizer adds [MASK], say, to a vocabulary without it. A text with that token would end
    in an IndexError there; here it is cut into pieces like any other word.
    """
    needed = {made.cls_token, made.sep_token, made.pad_token, made.unk_token}
    beyond = [
        token["content"]
        for token in content["added_tokens"]
        if token["id"] >= rows
        and token["content"] not in needed
        and json.dumps(token["content"], ensure_ascii=False)[1:-1] not in written
    ]
    content["added_tokens"] = [
        token for token in content["added_tokens"] if token["content"] not in beyond
    ]
    return tuple(beyond)


def _check_rows(tokenizer: Tokenizer, rows: int, folder: Path) -> None:
    known = tokenizer.get_vocab()
    token = max(known, key=lambda name: known[name])
    if known[token] >= rows:
        raise ArtifactError(f"{folder}: {beyond_table(token, known[token], rows)}")
