"""What people type who know other tools, and what bmc calls it: one line, with the way out."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bmc import synonyms
from bmc.errors import UnknownError, UsageError, unknown

_PAIR = re.compile(r"([A-Za-z][\w-]*)=(.*)", re.DOTALL)


def current_option_name(aliases: Mapping[str, str]) -> Callable[[str], str]:
    """Return what gives an option's name without its dashes as it is now; _ stands for -.

    Args:
        aliases: names of the last release, and the settings that they mean.
    """

    def normalized(name: str) -> str:
        typed = name.replace("-", "_")
        return aliases.get(typed, typed).replace("_", "-")

    return normalized


def unknown_verb(name: str, verbs: Iterable[str]) -> UnknownError:
    """Say that there is no such verb, with the one that other tools' name of it means."""
    meant, hint = synonyms.verb_of(name.lower()), "bmc --help lists all"
    return unknown("command", name, verbs, hint, meant)


def usage_error_for(error: Any, arguments: Sequence[str], verbs: Iterable[str]) -> UsageError:
    """Return what to say where Typer refuses a command line.

    Args:
        error: what Typer raised.
        arguments: the command line.
        verbs: all there are.
    """
    context = getattr(error, "ctx", None)
    verb = f"bmc {arguments[0]}" if arguments and arguments[0] in verbs else "bmc"
    hint = f"{verb} --help lists all" if verb != "bmc" else "bmc --help, bmc VERB --help"
    known = _shown_options(context)
    if hasattr(error, "possibilities"):
        typed = _as_typed(error.option_name, arguments)
        negative = typed[1:2].isdecimal()
        instead = "" if negative else _instead(typed, known, _names_model(context))
        dashed = "; a text that starts with - stands after --" if verb == "bmc predict" else ""
        return UsageError(f"{verb} has no option {typed}. {instead}({hint}{dashed})")
    pairs = pairs_as_options(verb, arguments[1:], known)
    if pairs:
        return UsageError(pairs)
    parameter = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and parameter is not None:
        return UsageError(f"{verb} needs {_missing(parameter, arguments)} ({hint})")
    said = " ".join(error.format_message().split()).rstrip(".")
    extra = re.fullmatch(r"Got unexpected extra argument\(s\) \((.*)\)", said)
    if extra:
        return UsageError(f"{verb} does not take {extra[1]!r} ({hint})")
    return UsageError(f"{said} ({hint})")


def refuse_name_equals_value(context: Any, words: Sequence[str]) -> None:
    """Refuse model=NAME where a model's name stands; a row of `bmc predict` may look so.

    Raises:
        UsageError: the message has the line that is meant.
    """
    named = context.params.get("model") or context.params.get("bundle") or ""
    if isinstance(named, str) and _PAIR.fullmatch(named) and not os.path.exists(named):
        said = pairs_as_options(f"bmc {context.info_name}", words, _shown_options(context))
        if said:
            raise UsageError(said)


def pairs_as_options(verb: str, words: Sequence[str], known: Sequence[str]) -> str:
    """Say how a line of key=value words is typed; nothing where there are none.

    Args:
        verb: the command, such as "bmc export".
        words: what stands behind it.
        known: the command's options.
    """
    first: list[str] = []
    others: list[str] = []
    for word in words:
        pair = _PAIR.fullmatch(word)
        key = pair[1].replace("-", "_") if pair else ""
        option = _option_of(key, known)
        if pair and key in synonyms.FIRST:
            first.append(pair[2])
        elif pair and option:
            others += [option, pair[2]]
        else:
            others.append(word)
    if first + others == list(words) or {"--set", "-s"} & set(words):
        return ""
    return f"bmc takes no NAME=VALUE: type {shlex.join([*verb.split(), *first, *others])}"


def _instead(typed: str, known: Sequence[str], names_model: bool) -> str:
    """Say what is typed instead of an option, in a sentence that ends with a space.

    Args:
        typed: the option.
        known: those that the command has.
        names_model: whether the command takes a model, or a bundle, right after the verb.
    """
    name = typed.lstrip("-").replace("-", "_")
    if names_model and name in synonyms.MODELS:
        return "The model comes right after the verb: type its name alone. "
    option = _option_of(name, known, near=False)
    if not option and name in synonyms.MODELS and "--student" in known:
        option = "--teacher"
    if not option and name in synonyms.ELSEWHERE:
        return f"Type {synonyms.ELSEWHERE[name]}. "
    option = option or _option_of(name, known)
    return f"Did you mean {option}? " if option else ""


def _option_of(name: str, known: Sequence[str], near: bool = True) -> str:
    """Return the option that a name of another tool means, among those a command has."""
    names = [option.removeprefix("--").replace("-", "_") for option in known]
    meant = synonyms.setting_of(name, names, near)
    return f"--{meant.replace('_', '-')}" if meant else ""


def _as_typed(name: str, arguments: Sequence[str]) -> str:
    """Return an option as it was typed: Typer names it with dashes, or by its first letter."""
    for word in arguments:
        typed = word.partition("=")[0]
        if typed.replace("_", "-") == name or (len(name) == 2 and typed.startswith(name)):
            return typed
    return name


def _names_model(context: Any) -> bool:
    parameters = getattr(getattr(context, "command", None), "params", [])
    return any(parameter.name in ("model", "bundle") for parameter in parameters)


def _shown_options(context: Any) -> list[str]:
    parameters = getattr(getattr(context, "command", None), "params", [])
    return [
        name
        for parameter in parameters
        if not getattr(parameter, "hidden", False)
        for name in parameter.opts
        if name.startswith("--")
    ]


def _missing(parameter: Any, arguments: Sequence[str]) -> str:
    """Name what has to be typed, with its values, or with the one that was typed elsewhere."""
    option = next((name for name in parameter.opts if name.startswith("--")), "")
    values = (parameter.metavar or "").strip("<>").split("|")
    typed = next((word for word in arguments[1:] if word in values), "")
    return f"{option or parameter.name.upper()} {typed or '|'.join(values)}".rstrip()
