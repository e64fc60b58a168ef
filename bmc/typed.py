"""JSON from a file as dataclasses, every value checked against the field's type."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_as(kind: type[T], value: object, what: str = "") -> T:
    """Return a JSON value as a type, such as a dataclass or list[int].

    Args:
        kind: a dataclass, a list, tuple or mapping of such, a union, or a plain type.
        value: as json.loads returned it.
        what: where in the file it stands, for messages.

    Raises:
        ValueError: it is something else; the message says where.
        BmcError: the dataclass itself refuses a value.
    """
    return cast("T", _read(kind, value, what))


def _read(hint: Any, value: Any, what: str) -> Any:
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(inside, value, what)
    if origin in (list, Sequence) and isinstance(value, list):
        return [_read(inside[0], each, f"{what}[{at}]") for at, each in enumerate(value)]
    if origin is tuple and isinstance(value, list):
        return tuple(_read(inside[0], each, f"{what}[{at}]") for at, each in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: _read(inside[1], each, f"{what}.{key}") for key, each in value.items()}
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _dataclass(hint, value, what)
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (int, str, bool, type(None)) and type(value) is hint:
        return value
    raise ValueError(f"{what or 'it'} is {value!r:.40}, which is no {_name(hint)}")


def _dataclass(kind: type[Any], value: Mapping[str, Any], what: str) -> Any:
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    extra = sorted(value.keys() - known.keys())
    if extra:
        raise ValueError(f"{what or 'it'} has the odd entry {extra[0]!r:.40}")
    for name, field in known.items():
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if name not in value and not has_default:
            raise ValueError(f"{what or 'it'} lacks {name!r}")
    prefix = f"{what}." if what else ""
    return kind(**{name: _read(hints[name], each, prefix + name) for name, each in value.items()})


def _one_of(hints: Sequence[Any], value: Any, what: str) -> Any:
    if value is None and type(None) in hints:
        return None
    return _read(next(hint for hint in hints if hint is not type(None)), value, what)


def _name(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint))
