"""Long texts, cut before they are tokenized to what a model can read of them.

A tokenizer takes some 100 bytes of memory a character. Where words are cut at white space first,
nothing before a space changes the tokens behind it, so a part of the text gives the same tokens.
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
_LOCAL = {  # each character becomes others, whatever stands around white space
    *("BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"),
}
_AT_SPACES = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_WITHIN_WORDS = {*_AT_SPACES, "Punctuation", "Digits", "UnicodeScripts", "Split"}


def boundaries_of(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """Return a pattern that matches, empty, where a text can be cut without changing its tokens.

    Returns:
        None where that cannot be proven: then texts are tokenized whole.
    """
    normalizers = list(_steps(tokenizer.normalizer, "normalizers"))
    words = list(_steps(tokenizer.pre_tokenizer, "pretokenizers"))
    added = "".join(token.content for token in tokenizer.get_added_tokens_decoder().values())
    if not words or words[0]["type"] not in _AT_SPACES or any(one.isspace() for one in added):
        return None
    if any(step["type"] not in _WITHIN_WORDS for step in words):
        return None
    if not all(step["type"] in _LOCAL or _removes_some(step) for step in normalizers):
        return None
    apart = any(step.get("handle_chinese_chars") for step in normalizers)
    if apart and max(added, default="") < "\u3000":
        return re.compile(f"{_SPACE}|(?<={_IDEOGRAPH})(?={_IDEOGRAPH})")
    return re.compile(_SPACE)


def beginning(text: str, characters: int, boundaries: re.Pattern[str]) -> str:
    """Return the text up to the first boundary behind some characters."""
    found = boundaries.search(text, characters)
    return text[: found.start()] if found else text


def ending(text: str, characters: int, boundaries: re.Pattern[str]) -> str:
    """Return the text from the last boundary on that leaves so many characters."""
    stop = len(text) - characters
    while stop > 0:
        start = max(0, stop - _WINDOW)
        places = [found.start() for found in boundaries.finditer(text, start, stop + 1)]
        if places:
            return text[places[-1] :]
        stop = start
    return text


def _steps(part: Any, inner: str) -> Iterator[dict[str, Any]]:
    if part is None:
        return
    content = json.loads(part.__getstate__())
    waiting = [content]
    while waiting:
        step = waiting.pop(0)
        if step["type"] == "Sequence":
            waiting = [*step[inner], *waiting]
        else:
            yield step


def _removes_some(step: dict[str, Any]) -> bool:
    """Tell whether a step takes single characters out, and none that a boundary stands at."""
    source = step.get("pattern", {}).get("Regex", "")
    if step["type"] != "Replace" or step.get("content") or not _CLASS.fullmatch(source):
        return False
    return not re.search(source, " \t\n\r\u4e00\u9fff")
