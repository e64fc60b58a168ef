"""The parameters of a typed function as settings.

A parameter whose default is a settings class's object stands for one setting per field. The
annotation of any other parameter may hold its text, or the `Choice` of its values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from bmc.choices import Choice
from bmc.settings import Setting, described, without_none


@dataclass(frozen=True)
class Group:
    """The settings that one parameter stands for.

    Args:
        make: makes the parameter's value of the settings' values, by name.
        settings: the settings.
    """

    make: Callable[..., Any]
    settings: tuple[Setting, ...]

    def value(self, typed: Mapping[str, Any]) -> Any:
        """Return the parameter's value, from values by name that `Setting.combine` takes."""
        return self.make(**{each.name: each.combine(typed[each.name]) for each in self.settings})


def changes(kind: type[Any]) -> Any:
    """Return a default that stands for a class's fields; its value has the typed ones alone."""
    optional = tuple(replace(setting, default=None) for setting in described(kind).values())
    return Group(
        lambda **values: {name: value for name, value in values.items() if value is not None},
        optional,
    )


def group_of(settings: Any) -> Group:
    """Return the group of a settings object, whose values are the defaults."""
    if isinstance(settings, Group):
        return settings
    known = described(type(settings)).values()
    members = (replace(setting, default=getattr(settings, setting.name)) for setting in known)
    return Group(type(settings), tuple(members))


def parameters_of(function: Callable[..., Any], keyword_group: str) -> dict[str, Group]:
    """Return the settings that each parameter of a function stands for.

    Args:
        function: its parameters are annotated.
        keyword_group: what parameters after `*` are about, if they belong to no settings class.
    """
    hints = get_type_hints(function, include_extras=True)
    return {
        name: group_of(parameter.default)
        if is_dataclass(parameter.default)
        else _single(parameter, hints[name], keyword_group)
        for name, parameter in inspect.signature(function).parameters.items()
    }


def _single(parameter: inspect.Parameter, hint: Any, keyword_group: str) -> Group:
    base, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    text = next((extra for extra in extras if isinstance(extra, str)), "")
    choice = next((extra for extra in extras if isinstance(extra, Choice)), None)
    group = keyword_group if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
    name, kind = parameter.name, without_none(base)
    setting = Setting(name, kind, parameter.default, text, group, choice)
    return Group(lambda **values: values[name], (setting,))
