"""Settings by name, as a command line or a Python caller gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from numbers import Integral, Real
from typing import Any

from bmc.errors import SettingError, unknown

_KINDS: Mapping[type, str] = {
    bool: "truth value",
    int: "whole number",
    float: "number",
    str: "text",
    tuple: "list of values",
}
_OPTIONAL: Mapping[str, type] = {"int | None": int, "float | None": float, "str | None": str}


def settings_from(kind: Any, options: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Return settings in the types that a settings class declares.

    Args:
        kind: a dataclass all of whose fields have a default; the old name of a field that was
            renamed is its metadata's "alias", which no message shows.
        options: values by name: of the field's own type, or as text, a tuple's with commas.
        reference: whose settings these are, for messages.

    Raises:
        UnknownError: there is no such setting.
        SettingError: a value is of another type.
    """
    known = {field.name: field for field in fields(kind)}
    aliases = {field.metadata.get("alias"): field for field in known.values()}
    values: dict[str, Any] = {}
    for name, value in options.items():
        typed = name.replace("-", "_")
        field = known.get(typed, aliases.get(typed))
        if field is None:
            raise unknown(f"setting of {reference}", name, known)
        if value is None and field.default is None:
            values[field.name] = None
            continue
        read = _parsed if isinstance(value, str) else _checked
        values[field.name] = read(_kind_of(field), name, value)
    return values


def _kind_of(field: Field[Any]) -> type:
    """Return the type of a field's values: that of its default, or of what may stand for None."""
    return _OPTIONAL.get(str(field.type), type(field.default))


def _checked(kind: type, name: str, value: Any) -> Any:
    """Return a value that a Python caller gave; whole numbers are numbers, lists are tuples."""
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if kind in _KINDS and type(value) is not kind:
        raise SettingError(f"{name} is {value!r}; it must be a {_KINDS[kind]}")
    return value


def _parsed(kind: type, name: str, text: str) -> Any:
    """Return what a text stands for."""
    if kind is bool:
        if text not in ("true", "false"):
            raise SettingError(f"{name} is {text!r}; true or false are possible")
        return text == "true"
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind not in _KINDS:
        raise SettingError(f"{name} cannot be typed; it is found by a search")
    try:
        return kind(text)
    except ValueError as error:
        raise SettingError(f"{name} is {text!r}; it must be a {_KINDS[kind]}") from error
