"""Convert JSON values to dataclasses, and check every value against the type of its field."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_as(kind: type[T], value: object, what: str = "") -> T:
    """Convert a JSON value to a type, such as a dataclass or list[int].

    Args:
        kind: a dataclass, a plain type, or a list, tuple, mapping or union of these.
        value: the value, as json.loads returned it.
        what: path of the value in the file, such as "rows[2].name", for messages.

    Raises:
        ValueError: the value does not have the type; the message has the path.
        BmcError: the dataclass refuses a value.
    """
    return cast("T", _read(kind, value, what))


def _read(hint: Any, value: Any, what: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, what)
    if origin in (list, Sequence) and isinstance(value, list):
        return [_read(arguments[0], each, f"{what}[{at}]") for at, each in enumerate(value)]
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], each, f"{what}[{at}]") for at, each in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: _read(arguments[1], each, f"{what}.{key}") for key, each in value.items()}
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _dataclass(hint, value, what)
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (int, str, bool, type(None)) and type(value) is hint:
        return value
    raise ValueError(f"{what or 'the value'} is {value!r:.40}, not of type {_name(hint)}")


def _dataclass(kind: type[Any], value: Mapping[str, Any], what: str) -> Any:
    hints = get_type_hints(kind)
    field_of = {field.name: field for field in fields(kind)}
    extra = sorted(value.keys() - field_of.keys())
    if extra:
        raise ValueError(f"{what or 'the value'} has the unknown entry {extra[0]!r:.40}")
    for name, field in field_of.items():
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if name not in value and not has_default:
            raise ValueError(f"{what or 'the value'} lacks {name!r}")
    prefix = f"{what}." if what else ""
    return kind(**{name: _read(hints[name], each, prefix + name) for name, each in value.items()})


def _one_of(hints: Sequence[Any], value: Any, what: str) -> Any:
    if value is None and type(None) in hints:
        return None
    return _read(next(hint for hint in hints if hint is not type(None)), value, what)


def _name(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint))
