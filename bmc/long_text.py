"""Cut long texts before tokenization to the part that a model can read.

A tokenizer takes about 100 bytes of memory for each character. If a tokenizer first splits text at
white space, the text before a space does not change the tokens after the space, and a part of the
text gives the same tokens as the whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

_SPACE = r"(?=[ \t\n\r])"
_IDEOGRAPH = "[\u4e00-\u9fff]"
_WINDOW = 4096
_CLASS = re.compile(r"\[(?:\\u[0-9a-f]{4}|-)+\]")
_LOCAL = {  # normalizers that do not change characters across white space
    *("BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"),
}
_AT_SPACES = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_WITHIN_WORDS = {*_AT_SPACES, "Punctuation", "Digits", "UnicodeScripts", "Split"}


def boundaries_of(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """Return a pattern of the boundaries at which a text can be cut without changing its tokens.

    Returns:
        a pattern whose matches are empty; None where bmc cannot prove that a tokenizer has such
        boundaries, so that texts must be tokenized whole.
    """
    normalizers = list(_steps(tokenizer.normalizer, "normalizers"))
    words = list(_steps(tokenizer.pre_tokenizer, "pretokenizers"))
    added = "".join(token.content for token in tokenizer.get_added_tokens_decoder().values())
    if not words or words[0]["type"] not in _AT_SPACES or any(char.isspace() for char in added):
        return None
    if any(step["type"] not in _WITHIN_WORDS for step in words):
        return None
    if not all(step["type"] in _LOCAL or _removes_characters(step) for step in normalizers):
        return None
    splits_ideographs = any(step.get("handle_chinese_chars") for step in normalizers)
    if splits_ideographs and max(added, default="") < "\u3000":
        return re.compile(f"{_SPACE}|(?<={_IDEOGRAPH})(?={_IDEOGRAPH})")
    return re.compile(_SPACE)


def beginning(text: str, characters: int, boundaries: re.Pattern[str]) -> str:
    """Return the beginning of a text, up to the first boundary after `characters` characters."""
    match = boundaries.search(text, characters)
    return text[: match.start()] if match else text


def ending(text: str, characters: int, boundaries: re.Pattern[str]) -> str:
    """Return the end of a text, from the last boundary before the last `characters` characters."""
    stop = len(text) - characters
    while stop > 0:
        start = max(0, stop - _WINDOW)
        positions = [match.start() for match in boundaries.finditer(text, start, stop + 1)]
        if positions:
            return text[positions[-1] :]
        stop = start
    return text


def _steps(component: Any, key: str) -> Iterator[dict[str, Any]]:
    """Yield the steps of a normalizer or pre-tokenizer; `key` names the steps of a sequence."""
    if component is None:
        return
    queue = [json.loads(component.__getstate__())]
    while queue:
        step = queue.pop(0)
        if step["type"] == "Sequence":
            queue = [*step[key], *queue]
        else:
            yield step


def _removes_characters(step: dict[str, Any]) -> bool:
    """Tell whether a step removes single characters, and none next to which a boundary can be."""
    source = step.get("pattern", {}).get("Regex", "")
    if step["type"] != "Replace" or step.get("content") or not _CLASS.fullmatch(source):
        return False
    return not re.search(source, " \t\n\r\u4e00\u9fff")
