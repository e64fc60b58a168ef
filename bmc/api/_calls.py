"""The context of every API call: where progress is reported, and which outputs are locked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bmc import console, processes, writing
from bmc.api.wording import worded
from bmc.console import Callback, Event
from bmc.terminal import Terminal
from bmc.trust import trusting

Progress = Callable[[Event], None]
"""A function of the caller that is called with each note and each progress event."""


@contextmanager
def call(
    verbose: bool, progress: Progress | None, *models: object, alone: str = ""
) -> Iterator[None]:
    """Run one API function: lock its outputs until it ends, and report progress to the caller.

    PyTorch's random state is afterwards as it was before: bmc sets seeds of its own.

    Error messages name Python arguments instead of command-line options. Python code that a model
    file names is trusted inside the block only: the code of `models`, and code that is passed to a
    function inside the block.

    Args:
        verbose: write notes and progress to stderr, as the command line does.
        progress: function that is called with each note and each step, instead of writing them.
        models: handles and references of the models that the verb loads.
        alone: name of the function if several processes cannot run it together, else "".

    Raises:
        UsageError: several processes run a function that only one can.
    """
    if alone:
        processes.refuse_several(alone)
    with ExitStack() as stack:
        stack.enter_context(_random_state_kept())
        stack.enter_context(worded())
        stack.enter_context(trusting(*(str(getattr(model, "code", "")) for model in models)))
        if progress:
            stack.enter_context(console.reporting(Callback(progress)))
        elif verbose:
            stack.enter_context(console.reporting(Terminal()))
        stack.enter_context(writing.command())
        yield


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Restore PyTorch's random state after the block, where the caller has imported PyTorch."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        yield


def path_of(output: str | Path | None) -> Path | None:
    """Return an output as a path; None if the API function chooses the path."""
    return None if output is None else Path(output)
