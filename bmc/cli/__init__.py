"""The command line: one file a verb; a verb is a typed function whose docstring is its help."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from cyclopts import App, CycloptsError, Parameter

from bmc import console, plugins, streams, writing
from bmc.cli._common import Answer
from bmc.errors import BmcError, MissingError, ModelCodeError, StorageError, UsageError
from bmc.files import storage_error
from bmc.foreign import line_of, summary_of

_VERBS = {
    "train": "Train or fine-tune a baseline on labelled data.",
    "distill": "Teach a small student what a trained teacher knows.",
    "prune": "Remove what a model can do without.",
    "share": "Factorise or share a model's parameters.",
    "quantize": "Store and compute with fewer bits.",
    "inspect": "Look into a model: cost by layer, activations, what its answers rest on.",
    "export": "Turn a model into a bundle for a target, and prove that it answers the same.",
    "predict": "Answer rows with a bundle.",
    "check": "Check a bundle on this device: checksums and golden outputs.",
    "bench": "Measure bundles in turn: latency with intervals, cold start, memory.",
    "report": "Compare everything in the workspace: accuracy, size, latency.",
    "models": "List baselines, students, and what the workspace holds.",
    "datasets": "List data sets, or show one.",
    "doctor": "Say what works on this machine, and how to get the rest.",
}
_TRAINING = ("train", "distill", "prune", "share")
_INTERRUPTED = 130
_SIGNALLED = 128  # and the signal's number: what a shell says of a program that one ended


class _StoppedError(KeyboardInterrupt):
    """A signal asks the command to end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _SIGNALLED + number


def app() -> App:
    """Build the command line; a verb's file is imported when the verb is named."""
    from bmc import __version__  # noqa: PLC0415  the package imports this module's neighbours

    tree = App(
        name="bmc",
        help="Compress a model, deploy it, and prove with numbers what was won and lost.",
        version=__version__,
        default_parameter=Parameter(negative=()),
        help_epilogue="Start with: bmc distill --teacher bert --student tiny",
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # else Ctrl-C ends without a word
        console=console.stdout(),
    )
    for verb, summary in _VERBS.items():
        tree.command(f"bmc.cli.{verb}:{verb}", name=verb, help=None if _asks(verb) else summary)
    return tree


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 done, 1 gate failed, 2 wrong, 3 missing.

    SIGTERM and SIGHUP end it as Ctrl-C does: what it was writing is removed, checkpoints stay.
    """
    streams.keep_numbers()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StoppedError(number)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    try:
        Path.cwd()
    except FileNotFoundError:
        console.complain("the working folder was removed: cd to one that is there")
        return UsageError.exit_code
    with streams.results_alone(), writing.command():
        try:
            answer = app()(list(arguments), exit_on_error=False, print_error=False)
            return _printed(answer) if isinstance(answer, Answer) else 0
        except KeyboardInterrupt as stopped:
            trains = arguments and (arguments[0] in _TRAINING or "qat" in arguments)
            kept = "The same command goes on from the last checkpoint"
            console.complain(f"stopped. {kept if trains else 'Nothing was kept'}")
            return getattr(stopped, "exit_code", _INTERRUPTED)
        except Exception as error:
            if os.environ.get("BMC_DEBUG") == "1":
                raise
            is_unread = streams.is_lost() or isinstance(error, streams.ReaderLeftError)
            return _unread(error) if is_unread else _explain(error)


def _printed(answer: Answer) -> int:
    """Print a verb's answer; return its exit code, or another where nobody can read it."""
    try:
        if console.wants_json():
            print(json.dumps(answer.data, indent=2), file=streams.results())
        else:
            console.say(*answer.shown)
        streams.results().flush()
    except (OSError, streams.ReaderLeftError) as error:
        return _unread(error)
    return answer.exit_code


def _unread(error: Exception) -> int:
    """Say that stdout could not be written to; a reader that left, such as `head`, wants no word.

    Returns:
        the exit code: as the system ends other programs then, or as for a full disk.
    """
    streams.give_up()
    if isinstance(error, (BrokenPipeError, streams.ReaderLeftError)):
        return _SIGNALLED + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
    console.complain(f"what was done could not be printed: {summary_of(error)}")
    return StorageError.exit_code


def _explain(error: Exception) -> int:
    if isinstance(error, BmcError):
        console.complain(str(error))
        return error.exit_code
    if isinstance(error, CycloptsError):
        dashed = "; a text that starts with - stands after --" if _asks("predict") else ""
        console.complain(f"{error} (bmc --help, bmc VERB --help{dashed})")
        return 2
    absent = _absent(error)
    if absent:
        try:
            return _explain(plugins.missing(absent, "this command"))
        except ModuleNotFoundError:
            pass
    named = getattr(error, "filename", None)
    disk_says = storage_error(error, Path(os.fsdecode(named) if named else "."))
    if disk_says:
        return _explain(disk_says)
    where = line_of(error)
    if where:
        return _explain(ModelCodeError(f"your code fails in {where}: {summary_of(error)}"))
    console.complain(
        f"unexpected {type(error).__name__}: {error} "
        "(this is a bug in bmc: BMC_DEBUG=1 shows where; please report it)"
    )
    return MissingError.exit_code - 1


def _absent(error: BaseException | None) -> ModuleNotFoundError | None:
    """Return the failed import behind an error; cyclopts hides it when it imports a verb."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ if isinstance(error, ImportError) else None
    return error


def _asks(verb: str) -> bool:
    """Tell whether this verb itself runs: then its docstring is the help, not the summary."""
    return len(sys.argv) > 1 and sys.argv[1] == verb
