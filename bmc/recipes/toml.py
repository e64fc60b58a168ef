"""Write a recipe as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(document: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """Return a recipe as the text of a TOML file, which reads as the same document.

    Args:
        document: the recipe: values, tables, and tables of tables such as `steps`.
        comments: a comment for a table by its name, such as "steps.small".
    """
    comments = comments or {}
    lines = [_pair(name, value) for name, value in document.items() if not _is_table(value)]
    for name, value in document.items():
        if not _is_table(value):
            continue
        tables = value if all(map(_is_table, value.values())) and value else {"": value}
        for inner, content in tables.items():
            path = f"{_key(name)}.{_key(inner)}" if inner else _key(name)
            lines += ["", *([f"# {comments[path]}"] if path in comments else []), f"[{path}]"]
            lines += _pairs(content)
    return "\n".join(lines).lstrip("\n") + "\n"


def _pairs(content: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the lines of a table; a table in it is written with dots: settings.layers = [...]."""
    lines: list[str] = []
    for name, value in content.items():
        if _is_table(value) and value:
            lines += _pairs(value, f"{prefix}{_key(name)}.")
        else:
            lines.append(f"{prefix}{_pair(name, value)}")
    return lines


def _pair(name: str, value: Any) -> str:
    return f"{_key(name)} = {_value(value)}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pair(name, each) for name, each in value.items()) + "}"
    return _text(str(value))


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)
