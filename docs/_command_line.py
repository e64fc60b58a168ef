"""The reference of the command line, read from the commands that Typer makes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import groupby
from typing import Any

from bmc.cli import app

_INTRODUCTION = """# Command line

Written from the commands themselves; `bmc VERB --help` shows the same. Names, output and exit
codes: [guide](../guides/command-line.md).
"""


def page() -> str:
    """Return the page: a section for each verb, with its options by panel and its examples."""
    return "\n".join([_INTRODUCTION, *(_section(verb) for verb in app.VERBS)])


def _section(verb: str) -> str:
    command = app.load(verb)
    shown = [option for option in command.params if option.help and not option.hidden]
    lines = [f"## bmc {verb}", "", command.help or "", ""]
    for panel, options in groupby(sorted(shown, key=_panel), key=_panel):
        lines += [f"**{panel}**", "", *(_item(option) for option in options), ""]
    examples = (command.epilog or "").partition("\n")[2]
    if examples:
        lines += ["```", *(line.strip() for line in examples.splitlines()), "```", ""]
    return "\n".join(lines)


def _panel(option: Any) -> str:
    return str(option.rich_help_panel or ("Options" if _is_option(option) else "Arguments"))


def _is_option(option: Any) -> bool:
    return any(name.startswith("-") for name in option.opts)


def _item(option: Any) -> str:
    name = ", ".join(f"`{name}`" for name in reversed(option.opts))
    notes = [*_choices(option), *_default(option), *(["required"] if option.required else [])]
    return f"- {name}: {option.help}" + (f" ({'; '.join(notes)})" if notes else "")


def _choices(option: Any) -> Iterator[str]:
    kind = option.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        yield ", ".join(f"`{member.value}`" for member in kind)


def _default(option: Any) -> Iterator[str]:
    if option.default not in (None, "", False, (), []):
        values = option.default if isinstance(option.default, list | tuple) else [option.default]
        yield "default " + ", ".join(f"`{value}`" for value in values)
