"""Tags of words: plain ones such as NOUN, or ones that mark spans, such as B-PER and I-PER.

Schemes of spans: BIO (beginning, inside, outside) and IOBES (also end, and single for one word).
Source: Ramshaw and Marcus 1995, "Text Chunking using Transformation-Based Learning".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

OUTSIDE = "O"
BIO, IOBES = "BIO", "IOBES"
_PREFIXED = re.compile(r"([BIES])-(.+)", re.DOTALL)
_OPEN = ("B", "I")  # a span may go on after these


def parts_of(tag: str) -> tuple[str, str]:
    """Return the prefix and the type of a tag; the prefix is "" where the tag has none."""
    match = _PREFIXED.fullmatch(tag)
    return (match[1], match[2]) if match else ("", tag)


def marks_spans(tags: Iterable[str]) -> bool:
    """Tell whether tags mark spans: all but O have a prefix, and there is one that has."""
    prefixes = [parts_of(tag)[0] for tag in tags if tag != OUTSIDE]
    return bool(prefixes) and all(prefixes)


def scheme_of(tags: Iterable[str]) -> str:
    """Return the scheme of tags that mark spans: IOBES where a tag has the prefix E or S."""
    return IOBES if any(parts_of(tag)[0] in ("E", "S") for tag in tags) else BIO


def types_of(tags: Iterable[str]) -> list[str]:
    """Return the types of tags that mark spans, sorted."""
    return sorted({parts_of(tag)[1] for tag in tags if tag != OUTSIDE})


def first_break(tags: Sequence[str], scheme: str) -> tuple[int, str] | None:
    """Return the first tag of a row that breaks a scheme: its index, and what is wrong with it.

    Args:
        tags: tags of the row's words.
        scheme: BIO or IOBES.

    Returns:
        None where no tag breaks the scheme.
    """
    prefix, kind = "", OUTSIDE
    for index, tag in enumerate(tags):
        new_prefix, new_kind = parts_of(tag)
        is_continued = prefix in _OPEN and new_prefix in ("I", "E") and new_kind == kind
        if new_prefix in ("I", "E") and not is_continued:
            return index, f"follows {tags[index - 1] if index else 'the beginning of the row'}"
        if scheme == IOBES and prefix in _OPEN and not is_continued:
            return index, f"follows {tags[index - 1]}, whose span has no E-{kind}"
        prefix, kind = new_prefix, new_kind
    if scheme == IOBES and prefix in _OPEN:
        return len(tags) - 1, f"is the last of its row, so its span has no E-{kind}"
    return None


def spans_in(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield the type, first index and index after the last of each span, also of tags that break.

    A span begins at B or S, and at a tag that does not continue the span before it. It goes on with
    I or E of the same type, and ends after E or S. seqeval reads spans by the same rules.

    Args:
        tags: tags of a row's words.
    """
    start, prefix, kind = 0, "", OUTSIDE
    for index, tag in enumerate(tags):
        new_prefix, new_kind = ("", OUTSIDE) if tag == OUTSIDE else parts_of(tag)
        continues = prefix in _OPEN and new_prefix in ("I", "E") and new_kind == kind
        if continues:
            prefix = new_prefix
            continue
        if prefix:
            yield kind, start, index
        start, prefix, kind = index, new_prefix, new_kind
    if prefix:
        yield kind, start, len(tags)
