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
        texts.update(arguments_in(owner.__doc__ or ""))
    return texts


def arguments_in(docstring: str) -> dict[str, str]:
    """Return the text of each argument under `Args:` of a docstring."""
    pieces = _ARGUMENT.split(_section_of(docstring, "Args"))[1:]
    pairs = zip(pieces[::2], pieces[1::2], strict=True)
    return {name: " ".join(text.split()) for name, text in pairs}


def examples_of(subject: Any) -> list[str]:
    """Return the lines under `Example:`."""
    return [line.strip() for line in _section(subject, "Example").splitlines() if line.strip()]


def _section(subject: Any, name: str) -> str:
    return _section_of(subject.__doc__ or "", name)


def _section_of(docstring: str, name: str) -> str:
    pieces = _SECTION.split(inspect.cleandoc(docstring))[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True)).get(name, "")
