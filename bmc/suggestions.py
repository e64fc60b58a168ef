"""Say in bmc's words what people type who know other tools: one line, with the way out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from bmc import synonyms
from bmc.errors import UnknownError, UsageError, unknown

PAIR = re.compile(r"([A-Za-z][\w-]*)=(.*)", re.DOTALL)
"""A word such as model=bert."""
_VALUE_OPTIONS = ("--student", "--method", "--target", "--data")  # the most specific first


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


def two_models(argument: str, option: str, targets: Iterable[str]) -> UsageError:
    """Refuse a command that names its model as an argument and as --model."""
    target = f"; a target is named with --target {argument}" if argument in targets else ""
    return UsageError(
        f"MODEL is given twice, as {argument!r} and as --model {option}: "
        f"type it once, after the verb{target}"
    )


def unknown_option(
    verb: str, typed: str, known: Sequence[str], names_model: bool, hint: str
) -> UsageError:
    """Return the error for an option that a command does not have, with what to type instead.

    Args:
        verb: the command, such as "bmc export".
        typed: the option.
        known: the command's options.
        names_model: whether the command takes a model, or a bundle, right after the verb.
        hint: the command that lists all options.
    """
    is_number = typed[1:2].isdecimal()
    instead = "" if is_number else _replacement_for(typed, known, names_model)
    dashed = "; a text that starts with - stands after --" if verb == "bmc predict" else ""
    return UsageError(f"{verb} has no option {typed}. {instead}({hint}{dashed})")


def extra_words(verb: str, words: str, known: Sequence[str], hint: str) -> UsageError:
    """Return the error for words that a command takes as values of an option alone.

    Args:
        verb: the command, such as "bmc train".
        words: the words, with spaces between them.
        known: the command's options.
        hint: the command that lists all options.
    """
    first, _, second = words.partition(" ")
    option = next((name for name in _VALUE_OPTIONS if name in known), "")
    meant = f"{option} {first}"
    if option == "--student":
        meant = f"--teacher {first} --student {second}" if second else f"--teacher {first}"
    guess = f" Did you mean {meant}?" if option else ""
    return UsageError(f"{verb} does not take {words!r}.{guess} ({hint})")


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
        pair = PAIR.fullmatch(word)
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


def _replacement_for(typed: str, known: Sequence[str], names_model: bool) -> str:
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
