"""A verb's signature as Typer reads it: options classes become options, docstrings their help.

A verb is a typed function. Parameters before `*` are arguments, those after it options. A parameter
whose default is an options class, a frozen dataclass, stands for one option for each of its fields.
The text of --help is what stands under `Args:` in the docstrings; `typer.Option(...)` in an
annotation adds what is special: a short name, a panel, a completion.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

from bmc.cli.choices import Choice
from bmc.cli.docstrings import arguments_of
from bmc.errors import SettingError, UsageError

_NUMBERS = {int: "whole number", float: "number"}
_SECOND = "_option"  # of an argument that may also be typed as an option, such as --model
_Collect = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class _Part:
    """One parameter of a verb: the parameters that Typer sees for it, and how they become one."""

    parameter: inspect.Parameter
    seen: tuple[inspect.Parameter, ...]
    collect: _Collect


def expand(verb: Callable[..., Any], panel: str | None = None) -> Callable[..., Any]:
    """Return a function that calls the verb, with one parameter for each argument and option.

    Args:
        verb: its parameters are annotated; options classes have an instance as default.
        panel: of --help, for the options that belong to no options class.
    """
    signature = inspect.signature(verb)
    hints = get_type_hints(verb, include_extras=True)
    help_of = arguments_of(verb)
    parts = [
        _group(parameter)
        if is_dataclass(parameter.default)
        else _single(parameter, hints[parameter.name], help_of, panel)
        for parameter in signature.parameters.values()
    ]

    @functools.wraps(verb)
    def call(**typed: Any) -> Any:
        arguments: list[Any] = []
        options: dict[str, Any] = {}
        for part in parts:
            value = part.collect(typed)
            if part.parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                arguments.extend(value)
            elif part.parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                options[part.parameter.name] = value
            else:
                arguments.append(value)
        return verb(*arguments, **options)

    seen = [parameter for part in parts for parameter in part.seen]
    call.__signature__ = signature.replace(parameters=seen)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in seen}
    return call


def _group(parameter: inspect.Parameter) -> _Part:
    """Return the options that the fields of an options class stand for."""
    options = parameter.default
    kind = type(options)
    hints = get_type_hints(kind, include_extras=True)
    help_of = arguments_of(kind)
    panel = getattr(kind, "PANEL", None)
    members = [
        _option(field.name, hints[field.name], getattr(options, field.name), help_of, panel)
        for field in fields(kind)
    ]

    def collect(typed: Mapping[str, Any]) -> Any:
        return kind(**{one.parameter.name: one.collect(typed) for one in members})

    seen = tuple(parameter for one in members for parameter in one.seen)
    return _Part(parameter, seen, collect)


def _single(
    parameter: inspect.Parameter, hint: Any, help_of: Mapping[str, str], panel: str | None
) -> _Part:
    """Return the argument or the option that one parameter stands for."""
    name = parameter.name
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        part = _option(name, hint, parameter.default, help_of, panel)
        return _Part(parameter, part.seen, part.collect)
    several = parameter.kind is inspect.Parameter.VAR_POSITIONAL
    default = () if several else parameter.default
    seen, read = _seen(name, hint, default, help_of, typer.Argument(), several)
    if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return _Part(parameter, (seen,), read)
    hidden = typer.Option(f"--{name}", hidden=True)
    second = name + _SECOND
    also = seen.replace(name=second, default=None, annotation=Annotated[str, hidden])

    def either(typed: Mapping[str, Any]) -> Any:
        option = typed[second]
        if option is None:
            return read(typed)
        if typed[name] not in (None, default):
            raise UsageError(
                f"{name.upper()} is given twice, as {typed[name]!r} and as --{name} {option}: "
                f"type it once, after the verb{_target_of(typed[name])}"
            )
        return option

    return _Part(parameter, (seen, also), either)


def _target_of(name: str) -> str:
    """Say how a target is typed, where one stands in a model's place."""
    from bmc.contracts.targets import TARGETS

    known = name in TARGETS.names()
    return f"; a target is named with --target {name}" if known else ""


def _option(
    name: str, hint: Any, default: Any, help_of: Mapping[str, str], panel: str | None
) -> _Part:
    shown = typer.Option(f"--{name.rstrip('_').replace('_', '-')}", rich_help_panel=panel)
    seen, read = _seen(name, hint, default, help_of, shown, several=False)
    return _Part(seen, (seen,), read)


def _seen(
    name: str,
    hint: Any,
    default: Any,
    help_of: Mapping[str, str],
    usual: Any,
    several: bool,
) -> tuple[inspect.Parameter, _Collect]:
    """Return a parameter as Typer reads it, and a function that takes its value from those typed.

    Args:
        name: of the parameter.
        hint: its annotation, resolved.
        default: what it is when it is not typed.
        help_of: texts for --help by name.
        usual: the Typer option or argument, where the annotation has none of its own.
        several: whether it takes all arguments that are left.
    """
    base, extras = _unwrapped(hint)
    info = _info(usual, extras)
    info.help = escape(help_of.get(name, ""))
    choice = next((extra for extra in extras if isinstance(extra, Choice)), None)
    inner = _inner(base)
    many = several or get_origin(inner) is tuple
    element: Any = get_args(inner)[0] if get_origin(inner) is tuple else inner
    option = _spelled(name, info)
    if choice is not None:
        element = _enum(choice.names())
        info.parser = choice.read
        if many:
            info.metavar = f"<{'|'.join(choice.names())}>"
            info.autocompletion = choice.complete
    elif element is bool:
        info.metavar = ""
    elif element in _NUMBERS:
        info.parser = _number(element, option)
    elif element is Path:
        info.parser = Path
        info.metavar = info.metavar or "PATH"
    elif element is str and isinstance(info, OptionInfo):
        info.metavar = info.metavar or "TEXT"
    required = default is inspect.Parameter.empty
    start: Any = default
    if many and not required:
        start = list(default) if default else None
    parameter = inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=start,
        annotation=Annotated[list[element] if many else element, info],
    )

    def collect(typed: Mapping[str, Any]) -> Any:
        value = typed[name]
        if not many:
            return value
        if value is None:
            return default
        return tuple(part for one in value for part in (one if isinstance(one, tuple) else (one,)))

    return parameter, collect


def _enum(names: Sequence[str]) -> Any:
    """Return an enum of names, which Typer shows and completes."""
    kind: Any = StrEnum
    return kind("Choices", [(name, name) for name in names])


def _info(usual: Any, extras: tuple[Any, ...]) -> Any:
    """Return what Typer is told: what the annotation says, the usual for the rest."""
    info = next((copy(extra) for extra in extras if isinstance(extra, ParameterInfo)), usual)
    if isinstance(info, OptionInfo) and info.default is ...:  # no name of its own
        info.default = usual.default
    info.rich_help_panel = info.rich_help_panel or usual.rich_help_panel
    return info


def _spelled(name: str, info: Any) -> str:
    return name.upper() if isinstance(info, ArgumentInfo) else str(info.default)


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        return base, tuple(extras)
    return hint, ()


def _inner(base: Any) -> Any:
    """Return the type in `type | None`."""
    if get_origin(base) in (Union, types.UnionType):
        return next(part for part in get_args(base) if part is not types.NoneType)
    return base


def _number(kind: Callable[[str], Any], option: str) -> Callable[[Any], Any]:
    """Return a function that reads a number; one that is none is refused with the option's name."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value  # the default
        try:
            return kind(value)
        except ValueError as error:
            raise SettingError(
                f"{option} is {value!r}; it must be a {_NUMBERS[kind]}"  # type: ignore[index]
            ) from error

    return read
