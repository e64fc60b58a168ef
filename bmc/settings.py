"""Describe the fields of a settings class, and read their values from text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from bmc.choices import Choice
from bmc.docstrings import arguments_of
from bmc.errors import SettingError
from bmc.folds import Fold

KINDS: Mapping[type, str] = {
    bool: "truth value",
    int: "whole number",
    float: "number",
    str: "text",
    tuple: "list of values",
}
_READERS: Mapping[Any, Any] = {str: str, Path: Path, Fold: Fold.read}


@dataclass(frozen=True)
class Setting:
    """One setting: a field of a settings class.

    Args:
        name: name of the field.
        kind: its type, without None.
        default: default value; MISSING if the field has no default.
        text: description of the field, from the docstring of the class.
        group: title of the field's group in --help, such as "Training".
        choice: values that the field can have; None for any value of its type.
        alias: its name in the last release; "" where that was the same.
    """

    name: str
    kind: Any
    default: Any = MISSING
    text: str = ""
    group: str = ""
    choice: Choice | None = None
    alias: str = ""

    @property
    def is_several(self) -> bool:
        """Whether the field holds several values, or pairs of names and values."""
        return get_origin(self.kind) in (tuple, Mapping)

    @property
    def has_names(self) -> bool:
        """Whether the field holds values by name, each typed as NAME=VALUE."""
        return get_origin(self.kind) is Mapping

    @property
    def element(self) -> Any:
        """The type of the field's value, or of each of its values."""
        return get_args(self.kind)[0] if self.is_several else self.kind

    def combine(self, value: Any) -> Any:
        """Return the setting's value, from what `read` returned for each of its texts.

        Args:
            value: None for the default; a list of values, of tuples of values, or of NAME=VALUE
                texts for a setting of several.
        """
        if value is None:
            return self.default
        if self.has_names:
            option = "--set" if self.name == "settings" else f"--{self.name.replace('_', '-')}"
            return pairs(value, option)
        if not self.is_several:
            return value
        parts = (each if isinstance(each, tuple) else (each,) for each in value)
        return tuple(entry for part in parts for entry in part)

    def read(self, text: str, shown: str) -> Any:
        """Convert a text to a value of the field, or to one of its values.

        Args:
            text: text that the user typed.
            shown: name of the setting in messages.

        Raises:
            SettingError: the text is not a value of the field.
        """
        if self.choice:
            return self.choice.read(text)
        if self.is_several and self.element is int and "," in text:
            return tuple(self.read(part.strip(), shown) for part in text.split(","))
        if self.element in _READERS:
            return _READERS[self.element](text)
        if self.element is bool:
            if text not in ("true", "false"):
                raise SettingError(f"{shown} is {text!r}; true or false are possible")
            return text == "true"
        try:
            return self.element(text)
        except ValueError as error:
            raise SettingError(
                f"{shown} is {text!r}; it must be a {KINDS[self.element]}"
            ) from error


def described(kind: type[Any]) -> dict[str, Setting]:
    """Return the settings of a settings class by name, in the order of its fields."""
    hints, texts = get_type_hints(kind), arguments_of(kind)
    return {
        field.name: Setting(
            field.name,
            without_none(hints[field.name]),
            field.default if field.default_factory is MISSING else field.default_factory(),
            texts.get(field.name, ""),
            field.metadata.get("group", getattr(kind, "GROUP", "")),
            field.metadata.get("choice"),
            field.metadata.get("alias", ""),
        )
        for field in fields(kind)
    }


def without_none(hint: Any) -> Any:
    """Return the type in `type | None`."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    return parts[0] if isinstance(hint, UnionType) else hint


def pairs(texts: Any, option: str) -> dict[str, str]:
    """Return the settings that texts such as "width=256" name.

    Args:
        texts: the texts.
        option: the option that they were typed for, for messages.

    Raises:
        SettingError: a setting is not of this form.
    """
    named = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SettingError(f"{option} {text!r}; it must look like NAME=VALUE")
        named[name] = value
    return named
