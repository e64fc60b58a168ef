"""The commands as Typer sees them; a verb's file is imported when the verb is typed."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from contextlib import nullcontext
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from bmc import refusals, streams, suggestions
from bmc.cli import COMPLETING
from bmc.cli.expand import expand
from bmc.docstrings import description_of, examples_of

_HELP_WIDTH = 70  # characters of an option's help in a shell's list of completions
PANELS = {
    "Train and compress": ("train", "distill", "prune", "share", "quantize", "compress"),
    "Deploy": ("export", "predict", "serve", "check", "pack", "unpack"),
    "Inspect and compare": ("inspect", "bench", "report", "show"),
    "Recipes": ("run", "recipe"),
    "Workspace": ("models", "rename", "remove", "datasets", "doctor"),
}
VERBS = {verb: panel for panel, verbs in PANELS.items() for verb in verbs}
FILES = {"run": "run_recipe"}  # `bmc.cli.run` is a function


def call(arguments: list[str]) -> Any:
    """Read one command line and run its verb; return what the verb returns.

    Raises:
        Exit: --help or --version was printed.
        TyperException: the command line is not valid.
    """
    command = typer.main.get_command(_app())
    with command.make_context("bmc", arguments or ["--help"]) as context:
        return command.invoke(context)


def complete() -> None:
    """Print the completions that a shell asks for, and exit; on an error, print none."""
    try:
        typer.main.get_command(_app()).main([], prog_name="bmc")
    except OSError:  # a folder that cannot be read
        sys.exit(0)


def load(name: str) -> Any:
    """Import a verb and return its command."""
    module = _module(name)
    verb = getattr(module, name)
    expanded = expand(verb, getattr(module, "PANEL", "Options"))
    examples = "\n".join(f"  {escape(line)}" for line in examples_of(verb))
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(
        name,
        cls=_Verb,
        help=escape(description_of(verb)),
        epilog=f"Examples:\n{examples}",
        context_settings={
            "token_normalize_func": suggestions.current_option_name(expanded.aliases)
        },
    )(expanded)
    return typer.main.get_command(alone)


def _module(verb: str) -> Any:
    return importlib.import_module(f"bmc.cli.{FILES.get(verb, verb)}")


def _app() -> typer.Typer:
    tree = typer.Typer(
        name="bmc",
        cls=_Verbs,
        help="Compress a model, deploy it, and measure accuracy, size and speed.",
        epilog="Start with: bmc distill --teacher bert --student tiny",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    tree.callback()(_root)
    return tree


def _version(typed: bool) -> None:
    if typed:
        from bmc import __version__

        print(__version__)
        raise typer.Exit


_VERSION = typer.Option(
    "--version", callback=_version, is_eager=True, metavar="", help="Print the version and exit."
)


def _root(version: Annotated[bool, _VERSION] = False) -> None:
    """Take the options that are typed before a verb."""


class _Command:
    """A command whose --help goes to stdout, as results do, and which shells can complete."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with nullcontext() if COMPLETING in os.environ else streams.as_results():
            return super().make_context(*arguments, **settings)  # type: ignore[misc]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """While a shell completes a command line, do not parse values, and shorten help.

        Parsing imports pydantic, 50 ms at each TAB; a shell offers each line of help as a value.
        """
        for parameter in self.get_params(ctx) if ctx.resilient_parsing else ():  # type: ignore[attr-defined]
            parameter.process_value = lambda context, value: value
            parameter.help = textwrap.shorten(parameter.help or "", _HELP_WIDTH, placeholder=" ...")
        return super().parse_args(ctx, args)  # type: ignore[misc,no-any-return]


class _Verb(_Command, TyperCommand):
    """A verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            refusals.refuse_name_equals_value(ctx, typed)
        return rest


class _Verbs(_Command, TyperGroup):
    """All verbs; only the module of the typed one builds its options."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stub with a verb's summary for `bmc --help`; building all options is slow."""
        verb = getattr(_module(cmd_name), cmd_name)
        summary = escape(description_of(verb).partition("\n")[0])
        return TyperCommand(cmd_name, help=summary, rich_help_panel=VERBS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in VERBS:
            return args[0], load(args[0]), args[1:]
        if ctx.resilient_parsing:  # a shell completes
            return None, None, args[1:]
        raise suggestions.unknown_verb(args[0], VERBS)
