"""The context of every API call: where progress is reported, and which outputs are locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bmc import console, writing
from bmc.api.wording import worded
from bmc.console import Callback, Event, Terminal
from bmc.trust import trusting

Progress = Callable[[Event], None]
"""A caller's function that hears of notes and progress."""


@contextmanager
def call(verbose: bool, progress: Progress | None, *models: object) -> Iterator[None]:
    """Run one API function: lock its outputs until it ends, and report progress to the caller.

    Error messages name Python arguments instead of command-line options. The user's code may run
    only inside this block, and only if one of `models` was opened with that code or the block
    itself names the code.

    Args:
        verbose: write notes and progress to stderr, as the command line does.
        progress: function that is called with each note and each step, instead of writing them.
        models: handles and references of the models that the verb loads.
    """
    with ExitStack() as stack:
        stack.enter_context(worded())
        stack.enter_context(trusting(*(str(getattr(model, "code", "")) for model in models)))
        if progress:
            stack.enter_context(console.reporting(Callback(progress)))
        elif verbose:
            stack.enter_context(console.reporting(Terminal()))
        stack.enter_context(writing.command())
        yield


def path_of(output: str | Path | None) -> Path | None:
    """Return an output as a path; None if the API function chooses the path."""
    return None if output is None else Path(output)
