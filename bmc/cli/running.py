"""Run one command line and return its exit code; every error becomes one line on stderr."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

import typer

from bmc import console, plugins, provenance, streams, writing
from bmc.cli import app, suggestions
from bmc.cli.options import Rendered
from bmc.errors import BmcError, ModelCodeError, StorageError, UsageError
from bmc.files import storage_error
from bmc.trust import trusting
from bmc.user_code import line_of, summary_of

_TRAINING = ("train", "distill", "prune", "share")
_INTERRUPTED = 130
_BUG = 2
_SIGNALLED = 128  # plus the signal's number: the exit status of a program killed by a signal


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    try:
        Path.cwd()
    except FileNotFoundError:
        console.complain("the working folder was removed: cd to one that is there")
        return UsageError.exit_code
    line = shlex.join(["bmc", *arguments])
    with streams.results_alone(), writing.command(), provenance.command(line), trusting():
        try:
            rendered = app.call(list(arguments))
            return _printed(rendered) if isinstance(rendered, Rendered) else 0
        except typer.Exit as left:
            return left.exit_code
        except KeyboardInterrupt as stopped:
            trains = arguments and (arguments[0] in _TRAINING or "qat" in arguments)
            kept = "The same command goes on from the last checkpoint"
            console.complain(f"stopped. {kept if trains else 'Nothing was kept'}")
            return getattr(stopped, "exit_code", _INTERRUPTED)
        except streams.UnprintedError as error:
            return _unread(error.reason)
        except Exception as error:
            if os.environ.get("BMC_DEBUG") == "1":
                raise
            is_unread = streams.is_lost() or isinstance(error, streams.ReaderLeftError)
            return _unread(error) if is_unread else _explain(error, arguments)


def _printed(rendered: Rendered) -> int:
    """Print a command's result; return its exit code, or that of `_unread` if that fails."""
    try:
        if console.wants_json():
            print(json.dumps(rendered.data, indent=2), file=streams.results())
        else:
            console.say(*rendered.shown)
        streams.results().flush()
    except (OSError, streams.ReaderLeftError) as error:
        return _unread(error)
    if rendered.failure:
        console.complain(rendered.failure)
    return rendered.exit_code


def _unread(error: Exception) -> int:
    """Say that stdout could not be written to; a closed pipe, as with `| head`, is not reported.

    Returns:
        the exit code: 128 + SIGPIPE for a closed pipe, as of any program; else that of a full disk.
    """
    streams.discard_unwritten()
    if isinstance(error, (BrokenPipeError, streams.ReaderLeftError)):
        return _SIGNALLED + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
    console.complain(
        f"the command has run, but its result could not be printed: {summary_of(error)}"
    )
    return StorageError.exit_code


def _explain(error: Exception, arguments: Sequence[str]) -> int:
    if isinstance(error, BmcError):
        console.complain(str(error))
        return error.exit_code
    if isinstance(error, typer.TyperException):
        return _explain(suggestions.usage_error_for(error, arguments, app.VERBS), arguments)
    if isinstance(error, ModuleNotFoundError):
        try:
            return _explain(plugins.missing(error, "this command"), arguments)
        except ModuleNotFoundError:
            pass
    named = getattr(error, "filename", None)
    disk_says = storage_error(error, Path(os.fsdecode(named) if named else "."))
    if disk_says:
        return _explain(disk_says, arguments)
    where = line_of(error)
    if where:
        return _explain(ModelCodeError(f"your code fails in {where}: {summary_of(error)}"), ())
    console.complain(
        f"unexpected {type(error).__name__}: {error} "
        "(this is a bug in bmc: BMC_DEBUG=1 shows where; please report it)"
    )
    return _BUG
