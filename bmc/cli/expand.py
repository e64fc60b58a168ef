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
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape
from typer.models import ArgumentInfo

from bmc.choices import Choice
from bmc.cli import complete
from bmc.cli.docstrings import arguments_of
from bmc.cli.options import Common
from bmc.contracts.targets import TARGETS
from bmc.errors import SettingError, UsageError
from bmc.folds import Fold

_NUMBERS = {int: "whole number", float: "number"}
_NAMES = {"settings": ("--set", "-s")}
_SHORT = {"output": ("-o",), "data": ("-d",), "yes": ("-y",)}
_AS_OPTION = "model_option"  # bmc export --model x


@dataclass(frozen=True)
class _LeftOut:
    """Stands for a settings class of which what is not typed is decided elsewhere."""

    kind: type[Any]


@dataclass(frozen=True)
class _Part:
    """The parameters that Typer sees for one of a verb's, and how their values become its value."""

    seen: tuple[inspect.Parameter, ...]
    collect: Callable[[Mapping[str, Any]], Any]
    aliases: Mapping[str, str] = field(default_factory=dict)


def changes(kind: type[Any]) -> Any:
    """Return the default of a parameter that gets, by name, the fields that were typed alone."""
    return _LeftOut(kind)


def expand(verb: Callable[..., Any], panel: str | None = None) -> Any:
    """Return a function that calls the verb, with one parameter for each argument and option.

    Its `aliases` are the names of the last release, and the options that they mean.

    Args:
        verb: its parameters are annotated.
        panel: of --help, for the options that belong to no settings class.
    """
    signature, texts = inspect.signature(verb), arguments_of(verb)
    hints = get_type_hints(verb, include_extras=True)
    parts = {
        name: _group(parameter.default, texts)
        if is_dataclass(parameter.default)
        else _single(parameter, hints[name], texts.get(name, ""), panel)
        for name, parameter in signature.parameters.items()
    }
    common = _group(Common(), {})

    @functools.wraps(verb)
    def call(**typed: Any) -> Any:
        common.collect(typed).begin()
        values = {name: part.collect(typed) for name, part in parts.items()}
        for value in values.values():
            getattr(value, "begin", lambda: None)()
        return verb(**values)

    seen = [parameter for part in (*parts.values(), common) for parameter in part.seen]
    expanded: Any = call
    expanded.__signature__ = signature.replace(parameters=seen)
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in seen}
    expanded.aliases = {old: new for part in parts.values() for old, new in part.aliases.items()}
    return expanded


def _group(settings: Any, texts: Mapping[str, str]) -> _Part:
    """Return the options that the fields of a settings object stand for."""
    left_out = isinstance(settings, _LeftOut)
    kind = settings.kind if left_out else type(settings)
    hints, texts = get_type_hints(kind), {**arguments_of(kind), **texts}
    members = {}
    aliases = {}
    for one in fields(kind):
        default = None if left_out else getattr(settings, one.name)
        panel = one.metadata.get("group", kind.GROUP)
        text = _with_options(texts[one.name], hints)
        choice = one.metadata.get("choice")
        members[one.name] = _option(one.name, hints[one.name], default, text, panel, choice)
        if "alias" in one.metadata:
            aliases[one.metadata["alias"]] = one.name

    def collect(typed: Mapping[str, Any]) -> Any:
        values = {name: part.collect(typed) for name, part in members.items()}
        if left_out:
            return {name: value for name, value in values.items() if value is not None}
        return kind(**values)

    seen = tuple(seen for part in members.values() for seen in part.seen)
    return _Part(seen, collect, aliases)


def _with_options(text: str, names: Mapping[str, Any]) -> str:
    """Write the names of other fields, which stand in backticks, as their options."""
    return re.sub(
        r"`(\w+)`", lambda name: _names(name[1])[0] if name[1] in names else name[0], text
    )


def _names(name: str) -> tuple[str, ...]:
    dashed = f"--{name.replace('_', '-')}"
    return _NAMES.get(name, (dashed, *_SHORT.get(name, ())))


def _single(parameter: inspect.Parameter, hint: Any, text: str, panel: str | None) -> _Part:
    """Return the argument or the option that one parameter stands for."""
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    base = get_args(hint)[0] if extras else hint
    text = text or next((extra for extra in extras if isinstance(extra, str)), "")
    choice = next((extra for extra in extras if isinstance(extra, Choice)), None)
    name, default = parameter.name, parameter.default
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        return _option(name, base, default, text, panel, choice)
    argument = _seen(name, base, default, text, typer.Argument(), choice)
    if name != "model":
        return argument
    hidden = Annotated[str, typer.Option("--model", hidden=True)]
    option = argument.seen[0].replace(name=_AS_OPTION, default=None, annotation=hidden)

    def either(typed: Mapping[str, Any]) -> Any:
        model, second = argument.collect(typed), typed[_AS_OPTION]
        if second is None or model in (None, default):
            return model if second is None else second
        target = f"; a target is named with --target {model}" if model in TARGETS.names() else ""
        raise UsageError(
            f"MODEL is given twice, as {model!r} and as --model {second}: "
            f"type it once, after the verb{target}"
        )

    return _Part((*argument.seen, option), either)


def _option(
    name: str, hint: Any, default: Any, text: str, panel: str | None, choice: Choice | None
) -> _Part:
    names = _names(name)
    if default is True:
        names = (f"{names[0]}/--no-{names[0].removeprefix('--')}",)
    info = typer.Option(*names, rich_help_panel=panel)
    return _seen(name, hint, default, text, info, choice)


def _seen(name: str, hint: Any, default: Any, text: str, info: Any, choice: Choice | None) -> _Part:
    """Return the parameter that Typer reads, and how its value is taken from those typed.

    Args:
        name: of the parameter.
        hint: its type.
        default: what it is when it is not typed.
        text: for --help.
        info: the Typer option or argument.
        choice: of its values; None for any of its type.
    """
    kind = next((part for part in get_args(hint) if isinstance(hint, types.UnionType)), hint)
    several = get_origin(kind) in (tuple, Mapping)
    element: Any = get_args(kind)[0] if several else kind
    info.help = escape(text)
    info.autocompletion = choice.complete if choice else complete.BY_NAME.get(name)
    info.parser, info.metavar = _read(element, _names(name)[0], choice)
    if get_origin(kind) is Mapping:
        info.metavar = "NAME=VALUE"
    elif isinstance(info, ArgumentInfo) and info.metavar == "TEXT":
        info.metavar = None  # an argument is shown by its name
    start = default
    if several and default is not inspect.Parameter.empty:
        start = list(default or ()) or None
    seen = inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=start,
        annotation=Annotated[list[element] if several else element, info],
    )

    def collect(typed: Mapping[str, Any]) -> Any:
        value = typed[name]
        if not several or value is None:
            return default if value is None else value
        if get_origin(kind) is Mapping:
            return _by_name(value)
        return tuple(part for one in value for part in (one if isinstance(one, tuple) else (one,)))

    return _Part((seen,), collect)


def _read(kind: Any, option: str, choice: Choice | None) -> tuple[Any, str | None]:
    """Return what reads a value from its text, None for Typer's own; and how the value is shown."""
    if choice:
        return choice.read, f"<{'|'.join(choice.names())}>"
    if kind in _NUMBERS:
        return functools.partial(_number, kind, option), None
    special = {Path: (Path, "PATH"), Fold: (Fold.read, "K/N"), bool: (None, "")}
    return special.get(kind, (None, "TEXT"))


def _number(kind: Callable[[str], Any], option: str, value: Any) -> Any:
    """Return a number; what is none is refused with the option's name."""
    try:
        return kind(value) if isinstance(value, str) else value  # else the default
    except ValueError as error:
        raise SettingError(
            f"{option} is {value!r}; it must be a {_NUMBERS[kind]}"  # type: ignore[index]
        ) from error


def _by_name(pairs: Sequence[str]) -> dict[str, str]:
    """Read settings typed as NAME=VALUE.

    Raises:
        SettingError: one looks different.
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SettingError(f"--set {pair!r}; it must look like NAME=VALUE")
        settings[name] = value
    return settings
