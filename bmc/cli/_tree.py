"""The commands as Typer sees them; a verb's file is imported when the verb is typed."""

from __future__ import annotations

import importlib
import io
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from bmc import streams
from bmc.cli import _habits
from bmc.cli.docstrings import description_of, examples_of
from bmc.cli.expand import expand

_SHORT = 70  # characters of an option's help beside its name
COMPLETING = "_BMC_COMPLETE"  # set by a shell that asks for completions
_MAKE, _DEPLOY, _MEASURE, _KEEP = "Train and compress", "Deploy", "Inspect and compare", "Workspace"


@dataclass(frozen=True)
class Verb:
    """What `bmc --help` says of a verb."""

    summary: str
    panel: str


VERBS = {
    "train": Verb("Train or fine-tune a baseline on labelled data.", _MAKE),
    "distill": Verb("Distil a trained teacher into a small student.", _MAKE),
    "prune": Verb("Prune a model, then fine-tune it.", _MAKE),
    "share": Verb("Factorize or share a model's parameters, then fine-tune it.", _MAKE),
    "quantize": Verb("Quantize a model to int8, int4 or half precision.", _MAKE),
    "export": Verb("Export a model to a target, and check its outputs and scores.", _DEPLOY),
    "predict": Verb("Predict rows with a bundle.", _DEPLOY),
    "check": Verb("Check a bundle on this device: checksums and golden outputs.", _DEPLOY),
    "inspect": Verb("Inspect a model: cost by layer, activations, feature importance.", _MEASURE),
    "bench": Verb("Measure latency, cold start and memory of bundles, in turn.", _MEASURE),
    "report": Verb("Compare accuracy, size and latency of bundles.", _MEASURE),
    "show": Verb("Show how a model or bundle was made, step by step.", _MEASURE),
    "models": Verb("List baselines, students, and what the workspace holds.", _KEEP),
    "rename": Verb("Rename a model or bundle of the workspace.", _KEEP),
    "remove": Verb("Remove models or bundles of the workspace.", _KEEP),
    "datasets": Verb("List data sets, or show one.", _KEEP),
    "doctor": Verb("Say what works on this machine, and how to get the rest.", _KEEP),
}


def app() -> typer.Typer:
    """Build the command line, each verb by its name and summary alone."""
    tree = typer.Typer(
        name="bmc",
        cls=_Verbs,
        help="Compress a model, deploy it, and prove with numbers what was won and lost.",
        epilog="Start with: bmc distill --teacher bert --student tiny",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["--help", "-h"],
            "token_normalize_func": _habits.dashed,
        },
    )
    tree.callback()(_root)
    for name, verb in VERBS.items():
        tree.command(name, short_help=verb.summary, rich_help_panel=verb.panel)(_later)
    return tree


def call(arguments: list[str]) -> Any:
    """Read one command line and run its verb; return what the verb returns.

    Raises:
        Exit: --help or --version was printed.
        TyperException: what was typed is no command line.
    """
    command = typer.main.get_command(app())
    with command.make_context("bmc", arguments or ["--help"]) as context:
        return command.invoke(context)


def complete() -> None:
    """Print the completions that a shell asks for, and leave; what fails completes nothing."""
    try:
        typer.main.get_command(app()).main([], prog_name="bmc")
    except OSError:  # a folder that cannot be read
        sys.exit(0)


def load(name: str) -> Any:
    """Import a verb and return its command."""
    module = importlib.import_module(f"bmc.cli.{name}")
    verb = getattr(module, name)
    examples = "\n".join(f"  {escape(line)}" for line in examples_of(verb))
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(
        name,
        cls=_Verb,
        context_settings={"token_normalize_func": _habits.present_names(name)},
        help=escape(description_of(verb)) or None,
        epilog=f"Examples:\n{examples}" if examples else None,
    )(expand(verb, getattr(module, "PANEL", None)))
    return typer.main.get_command(alone)


def _version(typed: bool) -> None:
    if typed:
        from bmc import __version__

        print(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            metavar="",
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


def _later() -> None:
    """Stand for a verb that was not typed."""


class _Verb(TyperCommand):
    """A verb whose --help is printed as a result is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _prepare(ctx, self.get_params(ctx))
        typed = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _habits.refuse_pairs(ctx, typed)
        return rest

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _as_result():
            return super().make_context(*arguments, **settings)


class _Verbs(TyperGroup):
    """The verbs; the one that is typed is imported."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _prepare(ctx, self.get_params(ctx))
        return super().parse_args(ctx, args)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _as_result():
            return super().make_context(*arguments, **settings)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, *rest = args
        if name in VERBS:
            return name, load(name), rest
        if ctx.resilient_parsing:  # a shell asks
            return None, None, rest
        raise _habits.unknown_verb(name, VERBS)


def _prepare(context: Any, parameters: Sequence[Any]) -> None:
    """Where a shell asks, leave values unread and shorten help.

    Reading values imports pydantic, 50 ms at each TAB; a shell takes each line of help for a word.
    """
    if context.resilient_parsing:
        for parameter in parameters:
            parameter.process_value = lambda context, value: value
            parameter.help = textwrap.shorten(parameter.help or "", _SHORT, placeholder=" ...")


class _Page(io.StringIO):
    """Text on its way to stdout: rich draws it as for the terminal, or file, that will get it."""

    def isatty(self) -> bool:
        with suppress(OSError):
            return streams.results().isatty()
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        with suppress(OSError):
            return streams.results().encoding or "utf-8"
        return "utf-8"


@contextmanager
def _as_result() -> Iterator[None]:
    """Print as a result what Typer and rich print while the block runs, such as --help."""
    if COMPLETING in os.environ:
        yield
        return
    page = _Page()
    try:
        with redirect_stdout(page):
            yield
    finally:
        text = page.getvalue().rstrip()
        if text:
            _print(text)


def _print(text: str) -> None:
    """Print a result.

    Raises:
        UnprintedError: its stream is full, closed, or left by its reader.
    """
    try:
        print(text, file=streams.results(), flush=True)
    except OSError as error:
        raise streams.UnprintedError(error) from error
