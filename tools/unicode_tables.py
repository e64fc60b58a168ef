"""Write examples/cpp/src/unicode_tables.cpp: what the package tokenizers knows of each character.

    python tools/unicode_tables.py            writes the file
    python tools/unicode_tables.py --check    exits with 1 where it is not up to date

Token ids are the same in C++ and Python only where both use the same version of Unicode. The
package tokenizers is built with several versions, and does not say which. So its normalizers and
pre-tokenizers are asked for every character, and the replies become the tables.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

TABLES = Path(__file__).parents[1] / "examples" / "cpp" / "src" / "unicode_tables.cpp"
_SEPARATOR = "\ue000"  # of private use: no normalizer but clean_text changes it
_SURROGATES, _HANGUL = range(0xD800, 0xE000), range(0xAC00, 0xD7A4)
_CHARACTERS = [
    chr(code) for code in range(0x110000) if code not in _SURROGATES and chr(code) != _SEPARATOR
]
# The planes 2 and 3 hold ideographs alone, 4 to 13 nothing, and 15 and 16 are of private use.
_OF_WORDS = [character for character in _CHARACTERS if ord(character) >> 16 in (0, 1, 14)]
_WIDTH = 100
_MAX_PARTS = 4

Ranges = list[tuple[int, int]]


def main() -> int:
    """Write the file, or compare it."""
    text = source()
    if sys.argv[1:] != ["--check"]:
        TABLES.write_text(text, encoding="utf-8")
        return 0
    if TABLES.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TABLES} is not up to date: python tools/unicode_tables.py", file=sys.stderr)
    return 1


def source() -> str:
    """Return the content of the file."""
    decomposed = _changes(normalizers.NFD(), _CHARACTERS)
    parts = {
        character: text for character, text in decomposed.items() if ord(character) not in _HANGUL
    }
    starters = [character for character in _OF_WORDS if character not in decomposed]
    lowered = _changes(normalizers.Lowercase(), _CHARACTERS)
    tables = [
        _table("Range", "kRemoved", _ranges(_removed())),
        _table("Range", "kSpaces", _ranges(_split(pre_tokenizers.WhitespaceSplit(), 2))),
        _table("Range", "kPunctuation", _ranges(_split(pre_tokenizers.BertPreTokenizer(), 3))),
        _table(
            "Range", "kIdeographs", _ranges(_changes(_bert(handle_chinese_chars=True), _CHARACTERS))
        ),
        _table("Range", "kNonspacing", _ranges(_changes(_bert(strip_accents=True), starters))),
        _table("Range", "kMarks", _ranges(_replaced(r"\p{M}"))),
        _table("ClassRange", "kCombiningClasses", _class_ranges(_classes(starters))),
        _table("Decomposition", "kDecompositions", _expansions(parts)),
        _table("Composition", "kCompositions", _compositions(parts)),
        _table("CaseRun", "kLowercase", _case_runs(lowered)),
        _table("Decomposition", "kLongLowercase", _expansions(_long(lowered))),
    ]
    head = (
        "// Written by tools/unicode_tables.py: the characters as the Python package tokenizers\n"
        f"// {tokenizers.__version__} knows them.\n"
        '#include "unicode_tables.hpp"\n\nnamespace bmc {\n\n'
    )
    return head + "\n".join(tables) + "\n}  // namespace bmc\n"


def _bert(**switches: bool) -> normalizers.Normalizer:
    """Return BERT's normalizer with only some of its steps."""
    steps = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    return normalizers.BertNormalizer(**{**dict.fromkeys(steps, False), **switches})


def _changes(normalizer: normalizers.Normalizer, characters: Sequence[str]) -> dict[str, str]:
    """Return the characters that a normalizer changes, with what they become."""
    text = normalizer.normalize_str(_SEPARATOR.join(characters))
    results = text.split(_SEPARATOR)
    return {
        character: result
        for character, result in zip(characters, results, strict=True)
        if result != character
    }


def _removed() -> Iterable[str]:
    """Return the characters that the cleaning of BERT's normalizer removes."""
    kept = _bert(clean_text=True).normalize_str(
        "".join(f"a{character}" for character in _CHARACTERS)
    )
    return [character for character, part in _pairs(kept) if not part] + [_SEPARATOR]


def _pairs(kept: str) -> Iterable[tuple[str, str]]:
    """Yield each character with what is left of the character in a text of `a` and characters."""
    position = 0
    for character in _CHARACTERS:
        position += 1  # the "a" before the character
        part = kept[position : position + 1]
        is_removed = part != " " and part != character
        if character == "a" or not is_removed:
            yield character, part
            position += 1
        else:
            yield character, ""


def _split(pre_tokenizer: pre_tokenizers.PreTokenizer, words: int) -> Iterable[str]:
    """Return the characters that split `aCa` into so many words."""
    text = "\n".join(f"a{character}a" for character in _OF_WORDS if character != "\n")
    starts = [start for _, (start, _) in pre_tokenizer.pre_tokenize_str(text)]
    counts = [0] * len(_OF_WORDS)
    for start in starts:
        counts[start // 4] += 1
    characters = [character for character in _OF_WORDS if character != "\n"]
    found = [
        character for character, count in zip(characters, counts, strict=False) if count == words
    ]
    return [*found, "\n"] if words == 2 else found


def _replaced(pattern: str) -> Iterable[str]:
    """Return the characters that match a regular expression."""
    return _changes(normalizers.Replace(Regex(pattern), ""), _OF_WORDS)


def _classes(characters: Sequence[str]) -> dict[str, int]:
    """Return the canonical combining class of each character that has one.

    Two marks keep their order if their classes are equal, and are sorted by them otherwise.
    """
    order = normalizers.NFD().normalize_str
    samples: dict[int, str] = {}
    for character in characters:
        if unicodedata.combining(character):
            samples.setdefault(unicodedata.combining(character), character)
    lowest, highest = samples[min(samples)], samples[max(samples)]

    def swapped(pairs: Sequence[str]) -> list[bool]:
        text = order(_SEPARATOR.join(pairs)).split(_SEPARATOR)
        return [result != pair for result, pair in zip(text, pairs, strict=True)]

    after = swapped([character + lowest for character in characters])
    before = swapped([highest + character for character in characters])
    marks = [
        character
        for character, late, early in zip(characters, after, before, strict=True)
        if late or early
    ]
    classes: dict[str, int] = {}
    for number, sample in samples.items():
        differs = swapped([sample + mark for mark in marks])
        other = swapped([mark + sample for mark in marks])
        classes |= {
            mark: number
            for mark, first, second in zip(marks, differs, other, strict=True)
            if not (first or second)
        }
    missing = set(marks) - set(classes)
    if missing:
        raise ValueError(f"no combining class for {sorted(map(hex, map(ord, missing)))}")
    return classes


def _compositions(parts: Mapping[str, str]) -> list[tuple[int, ...]]:
    """Return the pairs that NFC composes: first, second, composed."""
    compose = normalizers.NFC().normalize_str
    rows = []
    for character, text in parts.items():
        first = compose(text[:-1])
        if len(text) > 1 and len(first) == 1 and compose(text) == character:
            rows.append((ord(first), ord(text[-1]), ord(character)))
    return sorted(rows)


def _case_runs(lowered: Mapping[str, str]) -> list[tuple[int, ...]]:
    """Return runs of characters whose lower case has the same distance: first, last, step, add."""
    runs: list[list[int]] = []
    for character, text in sorted(lowered.items()):
        if len(text) > 1:
            continue
        code, distance = ord(character), ord(text) - ord(character)
        if runs and runs[-1][3] == distance:
            first, last, step, _ = runs[-1]
            if code - last in (1, 2) and (first == last or step == code - last):
                runs[-1][1:3] = [code, code - last]
                continue
        runs.append([code, code, 1, distance])
    return [tuple(run) for run in runs]


def _long(lowered: Mapping[str, str]) -> dict[str, str]:
    return {character: text for character, text in lowered.items() if len(text) > 1}


def _ranges(characters: Iterable[str]) -> Ranges:
    """Return characters as ranges: first, last."""
    ranges: Ranges = []
    for code in sorted(map(ord, characters)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return ranges


def _class_ranges(classes: Mapping[str, int]) -> list[tuple[int, ...]]:
    rows: list[list[int]] = []
    for character, number in sorted(classes.items()):
        if rows and rows[-1][1] == ord(character) - 1 and rows[-1][2] == number:
            rows[-1][1] += 1
        else:
            rows.append([ord(character), ord(character), number])
    return [tuple(row) for row in rows]


def _expansions(parts: Mapping[str, str]) -> list[tuple[Any, ...]]:
    """Return characters with the four characters at most that they become."""
    longest = max(map(len, parts.values()))
    if longest > _MAX_PARTS:
        raise ValueError(f"a character becomes {longest} characters; the tables hold {_MAX_PARTS}")
    return [(ord(character), tuple(map(ord, text))) for character, text in sorted(parts.items())]


def _table(kind: str, name: str, rows: Sequence[tuple[Any, ...]]) -> str:
    """Return the definition of a table."""
    entries = [f"{_entry(row)}," for row in rows]
    lines, line = [], "   "
    for entry in entries:
        if len(line) + 1 + len(entry) > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {entry}"
    array = f"{name}Rows"
    return "\n".join(
        [
            f"static constexpr {kind} {array}[] = {{",
            *lines,
            line,
            "};",
            f"const Table<{kind}> {name}{{{array}, {len(rows)}}};",
            "",
        ]
    )


def _entry(value: Any) -> str:
    """Return a number, or nested numbers in braces."""
    if isinstance(value, tuple):
        return f"{{{', '.join(map(_entry, value))}}}"
    return str(value) if value < 256 else f"0x{value:X}"


if __name__ == "__main__":
    sys.exit(main())
