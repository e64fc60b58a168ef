"""Settings by name, as a command line or a Python caller gives them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, get_origin

from bmc import synonyms
from bmc.errors import SettingError, unknown
from bmc.settings import KINDS, Setting, described


def settings_from(kind: Any, options: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Return settings in the types that a settings class declares.

    Args:
        kind: a dataclass all of whose fields have a default; the old name of a field that was
            renamed is its metadata's "alias", which no message shows.
        options: values by name: of the field's own type, or as text, a tuple's with commas.
        reference: name of the method or model that has the settings, for messages.

    Raises:
        UnknownError: there is no such setting.
        SettingError: a value is of another type.
    """
    settings = described(kind)
    aliases = {setting.alias: setting for setting in settings.values() if setting.alias}
    values: dict[str, Any] = {}
    for name, value in options.items():
        typed = name.replace("-", "_")
        setting = settings.get(typed, aliases.get(typed))
        if setting is None:
            meant = synonyms.setting_of(typed, settings, near=False)
            raise unknown(f"setting of {reference}", name, settings, meant=meant)
        if value is None and setting.default is None:
            values[setting.name] = None
        elif isinstance(value, str):
            values[setting.name] = _parsed(setting, name, value)
        else:
            values[setting.name] = _checked(get_origin(setting.kind) or setting.kind, name, value)
    return values


def _checked(kind: type, name: str, value: Any) -> Any:
    """Return a value that a Python caller gave; whole numbers are numbers, lists are tuples."""
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if kind in KINDS and type(value) is not kind:
        raise SettingError(f"{name} is {value!r}; it must be a {KINDS[kind]}")
    return value


def _parsed(setting: Setting, name: str, text: str) -> Any:
    """Return what a text stands for."""
    if get_origin(setting.kind) is Mapping:
        raise SettingError(f"{name} cannot be typed; it is found by a search")
    if not setting.is_several or (setting.choice and setting.choice.commas):
        return setting.read(text, name)
    return tuple(setting.read(part.strip(), name) for part in text.split(",") if part.strip())
