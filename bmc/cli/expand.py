"""A verb's signature as Typer reads it: settings classes become options, docstrings their help.

A verb is a typed function. Parameters before `*` are arguments, those after it options. A parameter
whose default is a settings class's object stands for an option for each of its fields. The text of
--help is what stands under `Args:` in docstrings; the verb's goes before the class's. An annotation
may hold the text of an argument, or the `Choice` of its values.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape

from bmc.choices import Choice
from bmc.cli import complete
from bmc.cli.options import Common
from bmc.contracts.targets import TARGETS
from bmc.docstrings import arguments_of
from bmc.errors import UsageError
from bmc.folds import Fold
from bmc.settings import Setting, described, pairs, without_none

_SET = "settings"  # a field of this name holds what --set NAME=VALUE names
_SHORT = {"settings": "-s", "output": "-o", "data": "-d", "yes": "-y"}
_SHOWN = {Path: "PATH", Fold: "K/N", bool: "", int: None, float: None}  # None: Typer's own words
_AS_OPTION = "model_option"  # bmc export --model x


@dataclass(frozen=True)
class _Group:
    """The options that the fields of a settings class stand for."""

    make: Callable[..., Any]
    settings: tuple[Setting, ...]


def changes(kind: type[Any]) -> Any:
    """Return the default of a parameter that gets, by name, the fields that were typed alone."""
    left_out = tuple(replace(one, default=None) for one in described(kind).values())
    return _Group(lambda **values: {n: v for n, v in values.items() if v is not None}, left_out)


def expand(verb: Callable[..., Any], panel: str = "Options") -> Any:
    """Return a function that calls the verb, with one parameter for each argument and option.

    Its `aliases` are the names of the last release, and the options that they mean.

    Args:
        verb: its parameters are annotated.
        panel: of --help, for the options that belong to no settings class.
    """
    signature, texts = inspect.signature(verb), arguments_of(verb)
    hints = get_type_hints(verb, include_extras=True)
    parts = {
        name: _group(parameter.default)
        if is_dataclass(parameter.default)
        else _single(parameter, hints[name], panel)
        for name, parameter in signature.parameters.items()
    }
    common = _group(Common())
    settings = [one for part in (*parts.values(), common) for one in _settings(part)]
    seen = [
        _parameter(replace(one, text=_as_options(texts.get(one.name, one.text), settings)))
        for one in settings
    ]
    if "model" in parts:
        hidden = Annotated[str, typer.Option("--model", hidden=True)]
        seen.append(seen[0].replace(name=_AS_OPTION, default=None, annotation=hidden))

    @functools.wraps(verb)
    def call(**typed: Any) -> Any:
        _value(common, typed).begin()
        values = {name: _value(part, typed) for name, part in parts.items()}
        if typed.get(_AS_OPTION) is not None:
            usual = (None, signature.parameters["model"].default)
            values["model"] = _only(values["model"], typed[_AS_OPTION], usual)
        if "code" in values:
            values["code"].begin()
        return verb(**values)

    expanded: Any = call
    expanded.__signature__ = signature.replace(parameters=seen)
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in seen}
    expanded.aliases = {one.alias: one.name for one in settings if one.alias}
    return expanded


def _group(settings: Any) -> _Group:
    if isinstance(settings, _Group):
        return settings
    known = described(type(settings)).values()
    members = (replace(one, default=getattr(settings, one.name)) for one in known)
    return _Group(type(settings), tuple(members))


def _single(parameter: inspect.Parameter, hint: Any, panel: str) -> Setting:
    """Return the argument, which has no group, or the option that a parameter stands for."""
    base, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    text = next((extra for extra in extras if isinstance(extra, str)), "")
    choice = next((extra for extra in extras if isinstance(extra, Choice)), None)
    group = panel if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
    kind = without_none(base)
    return Setting(parameter.name, kind, parameter.default, text, group, choice)


def _settings(part: _Group | Setting) -> tuple[Setting, ...]:
    return part.settings if isinstance(part, _Group) else (part,)


def _parameter(setting: Setting) -> inspect.Parameter:
    """Return what Typer reads of a setting."""
    name, option, element = setting.name, _option(setting.name), setting.element
    names = [f"{option}/--no-{name}" if setting.default is True else option]
    names += [_SHORT[name]] if name in _SHORT else []
    info: Any = typer.Option(*names) if setting.group else typer.Argument()
    info.help, info.rich_help_panel = escape(setting.text), setting.group or None
    info.metavar = _SHOWN.get(element, "TEXT" if setting.group else None)
    info.autocompletion = complete.BY_NAME.get(name)
    if name == _SET:
        info.metavar = "NAME=VALUE"
    elif element not in (bool, str) or setting.choice:
        info.parser = lambda typed: (
            setting.read(typed, option) if isinstance(typed, str) else typed  # a default
        )
    if setting.choice:
        info.metavar = f"<{'|'.join(setting.choice.names())}>"
        info.autocompletion = setting.choice.complete
    default = setting.default
    if setting.is_several and default is not inspect.Parameter.empty:
        default = list(default or ()) or None
    hint: Any = GenericAlias(list, element) if setting.is_several else element
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[hint, info])


def _value(part: _Group | Setting, typed: Mapping[str, Any]) -> Any:
    """Return what was typed, in its own type."""
    if isinstance(part, _Group):
        return part.make(**{one.name: _value(one, typed) for one in part.settings})
    value = typed[part.name]
    if value is None:
        return part.default
    if part.name == _SET:
        return pairs(value)
    if not part.is_several:
        return value
    return tuple(one for each in value for one in (each if isinstance(each, tuple) else (each,)))


def _as_options(text: str, settings: list[Setting]) -> str:
    """Write the names of settings, which stand in backticks, as their options."""
    names = {one.name for one in settings}
    return re.sub(r"`(\w+)`", lambda at: _option(at[1]) if at[1] in names else at[0], text)


def _option(name: str) -> str:
    return "--set" if name == _SET else f"--{name.replace('_', '-')}"


def _only(model: str, second: str, usual: tuple[Any, ...]) -> str:
    """Return the model that was typed as an option, unless another was typed as an argument.

    Raises:
        UsageError: one was.
    """
    if model in usual:
        return second
    target = f"; a target is named with --target {model}" if model in TARGETS.names() else ""
    raise UsageError(
        f"MODEL is given twice, as {model!r} and as --model {second}: "
        f"type it once, after the verb{target}"
    )
