"""A verb's signature as Typer reads it: settings classes become options, docstrings their help.

A verb is a typed function. Parameters before `*` are arguments, those after it options; see
`bmc.signatures`. The text of --help is what stands under `Args:` in docstrings; the verb's goes
before the class's.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any

import typer
from rich.markup import escape

from bmc import completions, suggestions
from bmc.common_options import Common
from bmc.completions import UnfinishedCommand
from bmc.contracts.targets import TARGETS
from bmc.docstrings import arguments_of
from bmc.folds import Fold
from bmc.settings import Setting
from bmc.signatures import group_of, parameters_of

_SET = "settings"  # the name of a setting whose values are typed as --set NAME=VALUE
_SHORT = {"settings": "-s", "output": "-o", "data": "-d", "yes": "-y"}
_SHOWN = {Path: "PATH", Fold: "K/N", bool: "", int: None, float: None}  # None: Typer's own words
_AS_OPTION = "model_option"  # bmc export --model x


def expand(verb: Callable[..., Any], panel: str = "Options") -> Any:
    """Return a function that calls the verb, with one parameter for each argument and option.

    Its `aliases` are the names of the last release, and the options that they mean.

    Args:
        verb: its parameters are annotated.
        panel: of --help, for the options that belong to no settings class.
    """
    signature, texts = inspect.signature(verb), arguments_of(verb)
    parameters, common = parameters_of(verb, panel), group_of(Common())
    settings = [each for group in (*parameters.values(), common) for each in group.settings]
    seen = [
        _parameter(replace(each, text=_as_options(texts.get(each.name, each.text), settings)))
        for each in settings
    ]
    if "model" in parameters:
        hidden = Annotated[str, typer.Option("--model", hidden=True)]
        seen.append(seen[0].replace(name=_AS_OPTION, default=None, annotation=hidden))

    @functools.wraps(verb)
    def call(**typed: Any) -> Any:
        common.value(typed).begin()
        values = {name: group.value(typed) for name, group in parameters.items()}
        if typed.get(_AS_OPTION) is not None:
            model, option = values["model"], typed[_AS_OPTION]
            if model not in (None, signature.parameters["model"].default):
                raise suggestions.two_models(model, option, TARGETS.names())
            values["model"] = option
        if "code" in values:
            values["code"].begin()
        return verb(**values)

    expanded: Any = call
    expanded.__signature__ = signature.replace(parameters=seen)
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in seen}
    expanded.aliases = {each.alias: each.name for each in settings if each.alias}
    return expanded


def _parameter(setting: Setting) -> inspect.Parameter:
    """Return what Typer reads of a setting."""
    name, option, element = setting.name, _option(setting.name), setting.element
    names = [f"{option}/--no-{name}" if setting.default is True else option]
    names += [_SHORT[name]] if name in _SHORT else []
    info: Any = typer.Option(*names) if setting.group else typer.Argument()
    info.help, info.rich_help_panel = escape(setting.text), setting.group or None
    info.metavar = _SHOWN.get(element, "TEXT" if setting.group else None)
    if name in completions.BY_NAME:
        info.autocompletion = _completion(name)
    if setting.has_names:
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


def _completion(name: str) -> Callable[[typer.Context], list[str]]:
    def complete(ctx: typer.Context) -> list[str]:
        command = UnfinishedCommand(str(ctx.info_name), ctx.params, ctx.args)
        return completions.BY_NAME[name](command)

    return complete


def _as_options(text: str, settings: list[Setting]) -> str:
    """Write the names of settings, which stand in backticks, as their options."""
    names = {setting.name for setting in settings}
    return re.sub(r"`(\w+)`", lambda at: _option(at[1]) if at[1] in names else at[0], text)


def _option(name: str) -> str:
    return "--set" if name == _SET else f"--{name.replace('_', '-')}"
