"""Say what is wrong with a command line that Typer refuses, and what to type instead."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from bmc import suggestions
from bmc.errors import UsageError


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
        return suggestions.unknown_option(verb, typed, known, _names_model(context), hint)
    pairs = suggestions.pairs_as_options(verb, arguments[1:], known)
    if pairs:
        return UsageError(pairs)
    parameter = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and parameter is not None:
        return UsageError(f"{verb} needs {_missing(parameter, arguments)} ({hint})")
    said = " ".join(error.format_message().split()).rstrip(".")
    extra = re.fullmatch(r"Got unexpected extra argument\(s\) \((.*)\)", said)
    if extra:
        return suggestions.extra_words(verb, extra[1], known, hint)
    return UsageError(f"{said} ({hint})")


def refuse_name_equals_value(context: Any, words: Sequence[str]) -> None:
    """Refuse model=NAME where a model's name stands; a row of `bmc predict` may look so.

    Raises:
        UsageError: the message has the line that is meant.
    """
    named = context.params.get("model") or context.params.get("bundle") or ""
    if isinstance(named, str) and suggestions.PAIR.fullmatch(named) and not os.path.exists(named):
        said = suggestions.pairs_as_options(
            f"bmc {context.info_name}", words, _shown_options(context)
        )
        if said:
            raise UsageError(said)


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
