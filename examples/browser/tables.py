"""Write lib/tables.js: the classes of characters that Python's tokenizers go by.

    python examples/browser/tables.py

Browsers know newer versions of Unicode than the package tokenizers, and each browser another: what
a mark or a punctuation mark is must come from the package. Each character is asked for alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

TABLES = Path(__file__).parent / "lib" / "tables.js"
_CHARACTERS = [
    code
    for code in range(0x110000)
    if not 0xD800 <= code < 0xE000 and not 0x40000 <= code < 0xE0000
]
_LAST_MARK = "\u0345"  # other marks are put before it
_WIDTH = 92
_HEAD = """\
// Written by tables.py: classes of characters, as Python's tokenizers have them. Each entry is a
// character or a range, hexadecimal.
"""


def main() -> None:
    """Write the tables."""
    TABLES.write_text(content(), encoding="utf-8")


def content() -> str:
    """Return the content of lib/tables.js."""
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False}
    off["lowercase"] = False
    clean = normalizers.BertNormalizer(**{**off, "clean_text": True}).normalize_str
    ideographs = normalizers.BertNormalizer(**{**off, "handle_chinese_chars": True}).normalize_str
    strip = normalizers.BertNormalizer(**{**off, "strip_accents": True}).normalize_str
    nfd = normalizers.NFD().normalize_str
    words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    classes: dict[str, Callable[[str], bool]] = {
        "REMOVED": lambda char: not clean(char),
        "SPACES": lambda char: len(words(f"a{char}b")) == 2,
        "IDEOGRAPHS": lambda char: ideographs(char) != char,
        "MARKS": lambda char: not strip(char),
        "PUNCTUATION": lambda char: len(words(f"a{char}b")) == 3,
        "DECOMPOSED": lambda char: nfd(char) != char,
        "REORDERED": lambda char: nfd(_LAST_MARK + char) != _LAST_MARK + nfd(char),
    }
    lines = [_HEAD]
    for name, holds in classes.items():
        codes = [code for code in _CHARACTERS if holds(chr(code))]
        lines.append(f"export const {name} =\n{_quoted(_ranges(codes))};\n")
    return "".join(lines)


def _ranges(codes: list[int]) -> list[str]:
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return [f"{low:x}" if low == high else f"{low:x}-{high:x}" for low, high in ranges]


def _quoted(words: list[str]) -> str:
    """Return the words as JavaScript strings of one line each, joined by +."""
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > _WIDTH:
            lines.append("")
        lines[-1] += f"{word} "
    lines[-1] = lines[-1].rstrip()
    return " +\n".join(f'  "{line}"' for line in lines)


if __name__ == "__main__":
    main()
