"""Load the tokenizer of a Hugging Face folder with transformers' AutoTokenizer, and check it."""

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

_MAX_BYTES = 32 * 2**20
_JSONS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
_TEXTS = ("vocab.txt", "merges.txt")
# transformers would open the files that these keys name, also outside of the folder.
_KEYS_OF_FILES = (
    *("vocab_file", "merges_file", "spm_file", "gguf_file", "fast_tokenizer_files"),
    *("tokenizer_object", "init_inputs"),
)
_PROBES = (
    "A Great film",
    "caf\u00e9 na\u00efve",
    "\uff21\uff22\uff23 \u2026",
    "a\u00a0b",
    "two  words",
    "it's 3.5 x-y",
    "\u4e2d\u6587",
)
"""Capitals, accents, full width, a no-break space, two spaces, punctuation, and Chinese."""


@dataclass(frozen=True)
class FolderTokenizer:
    """A folder's tokenizer, and the settings of its transformers class.

    Args:
        tokenizer: the tokenizer, without padding and truncation.
        class_name: name of the class that transformers chose.
        pad_id: id of the padding token; None where there is none.
        truncation_side: end at which long texts are truncated, "left" or "right".
        max_length: largest number of tokens (model_max_length); None where the folder has none.
        pair_types: whether the model gets token types, which tell the texts of a pair apart.
        dropped: tokens that transformers adds although the model has no embeddings for them.
        different: a text that the folder's tokenizer.json, read by itself, splits in another way;
            "" for none.
    """

    tokenizer: Tokenizer
    class_name: str
    pad_id: int | None
    truncation_side: str
    max_length: int | None
    pair_types: bool
    dropped: tuple[str, ...] = ()
    different: str = ""


def tokenizer_of(folder: Path, rows: int, types: int) -> FolderTokenizer:
    """Load a folder's tokenizer as `AutoTokenizer.from_pretrained(folder)` does.

    Args:
        folder: folder with tokenizer.json, or other tokenizer files that transformers can load.
        rows: number of token embeddings of the model.
        types: number of token types of the model.

    Raises:
        ArtifactError: there is no tokenizer, a file is too large, the tokenizer has no
            tokenizer.json form, or it has ids or token types without an embedding in the model.
    """
    text = _checked_files(folder)
    with panics_refused(f"{folder}: transformers cannot load its tokenizer"):
        loaded: Any = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    name = type(loaded).__name__
    if not isinstance(getattr(loaded, "backend_tokenizer", None), Tokenizer):
        raise ArtifactError(
            f"{folder}: {name} is written in Python and cannot be taken to a device; save the "
            "folder with a tokenizer that has a tokenizer.json"
        )
    if getattr(loaded, "split_special_tokens", False):
        raise ArtifactError(
            f"{folder}: split_special_tokens is on, which tokenizer.json cannot express; save the "
            "tokenizer without it"
        )
    content = json.loads(loaded.backend_tokenizer.to_str())
    dropped = _drop_added_tokens(content, rows, text, loaded)
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
    names, longest = loaded.model_input_names, loaded.model_max_length
    if not isinstance(names, list | tuple) or type(longest) not in (int, float):
        raise ArtifactError(
            f"{folder}: tokenizer_config.json: model_input_names is {names!r:.60} and "
            f"model_max_length {longest!r:.40}; they must be a list and a number"
        )
    has_types = "token_type_ids" in names
    if has_types and (any(single) or max(pair, default=0) >= max(types, 2)):
        raise ArtifactError(
            f"{folder}: its tokenizer makes token types that the model lacks: {single} for one "
            f"text, {pair} for two"
        )
    return FolderTokenizer(
        tokenizer,
        name,
        None if loaded.pad_token is None else loaded.pad_token_id,
        loaded.truncation_side,
        int(longest) if 0 <= longest < 2**31 else None,
        has_types,
        dropped,
        _different(folder, loaded.backend_tokenizer),
    )


def _different(folder: Path, loaded: Tokenizer) -> str:
    """Return a text whose tokens differ from those of the folder's tokenizer.json; "" for none.

    A class of transformers takes the vocabulary of that file, and normalizes and splits texts in
    its own way.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return ""
    with panics_refused(f"{path}: its tokenizer cannot be used"):
        of_file = Tokenizer.from_file(str(path))
        for text in _PROBES:
            encoded = (each.encode(text, add_special_tokens=False) for each in (of_file, loaded))
            if len({tuple(encoding.tokens) for encoding in encoded}) > 1:
                return text
    return ""


def _checked_files(folder: Path) -> str:
    """Check the files that transformers will read, and return their contents as one text.

    Raises:
        ArtifactError: a file is too large or not JSON, or names files or code elsewhere.
    """
    texts: list[str] = []
    for name in (*_JSONS, *_TEXTS, "tokenizer.json"):
        path = folder / name
        if not path.exists():
            continue
        if name in _TEXTS:
            data = read_bytes(path, "Hugging Face model folder", _MAX_BYTES, links=True)
            texts.append(data.decode(errors="replace"))
            continue
        content = read_json(path, "Hugging Face model folder", links=True, max_bytes=_MAX_BYTES)
        texts.append(json.dumps(content, ensure_ascii=False))
        if name == "tokenizer.json":
            _check_tokenizer(content, path)
        if name == "tokenizer_config.json":
            file_keys = [key for key in _KEYS_OF_FILES if content.get(key)]
            if file_keys:
                raise ArtifactError(f"{path}: {file_keys[0]} is set, which bmc does not follow")
    if not texts:
        raise ArtifactError(
            f"{folder} has no tokenizer: save it next to the model, with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    return "\n".join(texts)


def _check_tokenizer(content: dict[str, Any], path: Path) -> None:
    try:
        check_tokenizer(content)
    except ValueError as error:
        raise ArtifactError(f"{path} is not a tokenizer that bmc can read: {error}") from error


def _drop_added_tokens(
    content: dict[str, Any], rows: int, text: str, loaded: Any
) -> tuple[str, ...]:
    """Remove tokens that transformers added without an embedding in the model, and return them.

    BertTokenizer, for example, adds [MASK] to a vocabulary without this token. In transformers a
    text with that token fails with an IndexError; bmc splits it into pieces like other words.

    Args:
        content: content of tokenizer.json; its added_tokens are changed in place.
        rows: number of token embeddings of the model.
        text: contents of all tokenizer files; tokens in a file are kept.
        loaded: the tokenizer that transformers loaded.
    """
    required = {loaded.cls_token, loaded.sep_token, loaded.pad_token, loaded.unk_token}
    dropped = [
        token["content"]
        for token in content["added_tokens"]
        if token["id"] >= rows
        and token["content"] not in required
        and json.dumps(token["content"], ensure_ascii=False)[1:-1] not in text
    ]
    content["added_tokens"] = [
        token for token in content["added_tokens"] if token["content"] not in dropped
    ]
    return tuple(dropped)


def _check_rows(tokenizer: Tokenizer, rows: int, folder: Path) -> None:
    ids = tokenizer.get_vocab()
    token = max(ids, key=lambda name: ids[name])
    if ids[token] >= rows:
        raise ArtifactError(f"{folder}: {beyond_table(token, ids[token], rows)}")
