"""Read an untrusted tokenizer.json, a few bytes of which could take gigabytes or never end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bmc.errors import ArtifactError, reason_of
from bmc.packed import Archive

TOKENIZER = "tokenizer.json"
_MOST_BYTES = 32 * 2**20
_MOST_IDS = 4_000_000
_MOST_ADDED = 20_000
_MOST_COMPONENTS = 100
_LONGEST_PATTERN = 1_000
_LONGEST_WORD = 1_000
_MOST_GROWTH = 64
_COMPONENTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
# The atoms of a regular expression: an escape, a character class, a counted repeat, a character.
_ATOM = re.compile(r"\\.|\[(?:\\.|\[:\w+:\]|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)


def load_tokenizer(path: Path, rows: int = 0) -> Tokenizer:
    """Read a tokenizer.json.

    Args:
        path: path of the file.
        rows: number of rows in the model's token table; 0 if unknown.

    Raises:
        ArtifactError: the file is missing, is not a tokenizer, or exceeds a limit.
    """
    if not path.is_file():
        raise ArtifactError(f"{path.parent} has no {path.name}")
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ArtifactError(f"{path} has {size:,} bytes; bmc reads up to {_MOST_BYTES:,}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path} is not a tokenizer that bmc can read: {reason_of(error)}"
        ) from error
    return _parsed(data, path, rows)


def tokenizer_in(folder: Path | Archive, rows: int = 0) -> Tokenizer:
    """Read the tokenizer.json of a model directory, a bundle or a packed bundle.

    Args:
        folder: the folder, or the files of the packed bundle.
        rows: number of rows in the model's token table; 0 if unknown.

    Raises:
        ArtifactError: the file is missing, is not a tokenizer, or exceeds a limit.
    """
    if isinstance(folder, Path):
        return load_tokenizer(folder / TOKENIZER, rows)
    return _parsed(folder.read(TOKENIZER, _MOST_BYTES), folder.path / TOKENIZER, rows)


def _parsed(data: bytes, path: Path, rows: int) -> Tokenizer:
    """Build a tokenizer from the content of a tokenizer.json."""
    what = f"{path} is not a tokenizer that bmc can read"
    try:
        text = data.decode("utf-8")
        check_tokenizer(json.loads(text), rows)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{what}: {reason_of(error)}") from error
    with panics_refused(what):
        return Tokenizer.from_str(text)


@contextmanager
def panics_refused(what: str) -> Iterator[None]:
    """Turn the errors of the tokenizers package into an ArtifactError.

    The package tokenizers raises a plain Exception for a file or text that it refuses. A panic of
    its Rust code is a BaseException of a class that cannot be imported.

    Raises:
        ArtifactError: the block raised such an exception.
    """
    try:
        yield
    except Exception as error:  # the package raises no narrower class
        raise ArtifactError(f"{what}: {reason_of(error)[:200]}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ArtifactError(f"{what}: its tokenizer failed ({reason_of(error)[:200]})") from error


def check_tokenizer(content: Any, rows: int = 0) -> None:
    """Check the content of a tokenizer.json before a tokenizer is built from it.

    Args:
        content: the parsed JSON.
        rows: number of rows in the model's token table; 0 if unknown.

    Raises:
        ValueError: a value is malformed or exceeds a limit.
    """
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ValueError("it has no model")
    _check_ids(content, rows)
    model = content["model"]
    if model.get("dropout"):
        raise ValueError(f"its BPE dropout {model['dropout']!r:.20} makes answers random")
    longest = model.get("max_input_chars_per_word", 0)
    if type(longest) is not int or not 0 <= longest <= _LONGEST_WORD:
        raise ValueError(f"max_input_chars_per_word is {longest!r:.40}, above {_LONGEST_WORD}")
    components = [part for name in _COMPONENTS for part in _components(content.get(name))]
    if len(components) > _MOST_COMPONENTS:
        raise ValueError(f"it has {len(components)} steps; bmc reads up to {_MOST_COMPONENTS}")
    growth = 1.0
    for part in components:
        pattern = part.get("pattern")
        source = pattern.get("Regex") if isinstance(pattern, dict) else None
        if isinstance(source, str):
            _check_pattern(source)
        growth *= _growth(part, pattern)
    if growth > _MOST_GROWTH:
        raise ValueError(f"it makes texts more than {_MOST_GROWTH} times as long")


def _check_ids(content: dict[str, Any], rows: int) -> None:
    vocabulary, added = content["model"].get("vocab"), content.get("added_tokens") or []
    if not isinstance(vocabulary, dict | list) or not vocabulary:
        raise ValueError("it has no vocabulary")
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise ValueError("its added_tokens are no list of tokens")
    if len(added) > _MOST_ADDED:
        raise ValueError(f"it has {len(added):,} added tokens; bmc reads up to {_MOST_ADDED:,}")
    if isinstance(vocabulary, dict):
        ids = dict(vocabulary)
    else:  # pairs of a token and its score; the id is the index of the pair
        ids = {f"number {number}": number for number in range(len(vocabulary))}
    ids |= {f"{token.get('content')}": token.get("id") for token in added}
    for component in _components(content.get("post_processor")):
        ids |= _ids_of_processor(component)
    for token, number in ids.items():
        if type(number) is not int or number < 0:
            raise ValueError(f"the token {token!r:.60} has the id {number!r:.40}")
    token = max(ids, key=lambda name: ids[name])
    if ids[token] >= (rows or _MOST_IDS):
        raise ValueError(beyond_table(token, ids[token], rows or _MOST_IDS))


def beyond_table(token: str, number: int, rows: int) -> str:
    """Return a message on a token that has no row in a model's token table."""
    return (
        f"the token {token!r:.60} has the id {number}, but the model's table has {rows} rows: "
        "call model.resize_token_embeddings(len(tokenizer)) in transformers and save both again, "
        "or take the token out of the tokenizer"
    )


def _ids_of_processor(component: dict[str, Any]) -> dict[str, Any]:
    ids: dict[str, Any] = {}
    for name in ("sep", "cls"):
        if isinstance(component.get(name), list):
            token, number = component[name]
            ids[f"{token}"] = number
    special = component.get("special_tokens")
    for name, token in special.items() if isinstance(special, dict) else ():
        numbers = token.get("ids") if isinstance(token, dict) else None
        if not isinstance(numbers, list):
            raise ValueError(f"the special token {name!r:.60} has no ids")
        ids |= {f"{name} ({position})": number for position, number in enumerate(numbers)}
    return ids


def _components(part: Any) -> Iterator[dict[str, Any]]:
    """Yield the steps of a normalizer, pre-tokenizer, post-processor or decoder."""
    if not isinstance(part, dict):
        return
    yield part
    for name in ("normalizers", "pretokenizers", "processors", "decoders"):
        inner = part.get(name)
        for step in inner if isinstance(inner, list) else ():
            yield from _components(step)


def _growth(part: dict[str, Any], pattern: Any) -> float:
    """Return the largest factor by which a step can lengthen a text."""
    content = part.get("content", part.get("prepend", ""))
    if not isinstance(content, str):
        return 1.0
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    return max(1.0, len(content) / max(len(literal) if isinstance(literal, str) else 1, 1))


def _check_pattern(source: str) -> None:
    """Refuse a regular expression whose matching can take exponential time.

    Refused are a repeated group that contains a repeat or a choice, and a back-reference.

    Raises:
        ValueError: the pattern is refused, or is longer than patterns of real tokenizers.
    """
    if len(source) > _LONGEST_PATTERN:
        raise ValueError(f"a pattern has {len(source):,} characters; {_LONGEST_PATTERN:,} are read")
    open_groups = [False]  # for each open group: whether it contains a repeat or a choice
    closed, before = False, ""
    for atom in _ATOM.findall(source):
        repeats = atom in ("*", "+") or (atom[0] == "{" and len(atom) > 1)
        if repeats and closed:
            raise ValueError(f"the pattern {source!r:.80} repeats a repeat, which may never end")
        if re.fullmatch(r"\\(\d|k|g)", atom):
            raise ValueError(f"the pattern {source!r:.80} refers back, which may never end")
        closed = False
        if atom == "(":
            open_groups.append(False)
        elif atom == ")" and len(open_groups) > 1:
            closed = open_groups.pop()
            open_groups[-1] |= closed
        elif repeats or atom == "|" or (atom == "?" and before != "("):
            open_groups[-1] = True
        before = atom
