"""Docstrings as texts for people: what a function does, its arguments, its examples."""

from __future__ import annotations

import inspect
import re
from typing import Any

_SECTION = re.compile(r"^(Args|Example|Raises|Returns|Source):", re.MULTILINE)
_ARGUMENT = re.compile(r"^    (\w+): ", re.MULTILINE)


def description_of(subject: Any) -> str:
    """Return the text before the first section, each paragraph in one line."""
    text = _SECTION.split(inspect.getdoc(subject) or "")[0].strip()
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def arguments_of(subject: Any) -> dict[str, str]:
    """Return the text of each argument under `Args:`, with the arguments of base classes."""
    texts: dict[str, str] = {}
    for owner in reversed(subject.__mro__) if isinstance(subject, type) else [subject]:
        pieces = _ARGUMENT.split(_section(owner, "Args"))[1:]
        for name, text in zip(pieces[::2], pieces[1::2], strict=True):
            texts[name] = " ".join(text.split())
    return texts


def examples_of(subject: Any) -> list[str]:
    """Return the lines under `Example:`."""
    return [line.strip() for line in _section(subject, "Example").splitlines() if line.strip()]


def _section(subject: Any, name: str) -> str:
    pieces = _SECTION.split(inspect.cleandoc(subject.__doc__ or ""))[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True)).get(name, "")
