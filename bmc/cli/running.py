"""Run one command line and return its exit code; every error becomes one line on stderr."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress

import typer

from bmc import console, processes, provenance, refusals, streams, writing
from bmc.cli import app
from bmc.diagnosis import as_bmc_error
from bmc.errors import BmcError
from bmc.files import check_working_folder
from bmc.rendering.printing import print_result, report_unprinted
from bmc.rendering.rendered import Rendered
from bmc.termination import exit_code_of, message_for
from bmc.trust import trusting

_TOGETHER = ("train", "distill", "prune", "share", "quantize")
"""The verbs that several processes can run together: those that train."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    line = shlex.join(["bmc", *arguments])
    with streams.results_alone(), writing.command(), provenance.command(line), trusting():
        try:
            check_working_folder()
            if arguments and arguments[0] in app.VERBS and arguments[0] not in _TOGETHER:
                processes.refuse_several(f"bmc {arguments[0]}")
            rendered = app.call(list(arguments))
            return print_result(rendered) if isinstance(rendered, Rendered) else 0
        except typer.Exit as left:
            return left.exit_code
        except KeyboardInterrupt as stopped:
            if processes.is_first():
                console.complain(message_for(arguments, processes.count()))
            return exit_code_of(stopped)
        except streams.UnprintedError as error:
            return report_unprinted(error.reason)
        except Exception as error:
            if os.environ.get("BMC_DEBUG") == "1":
                raise
            if streams.is_lost() or isinstance(error, streams.ReaderLeftError):
                return report_unprinted(error)
            if isinstance(error, typer.TyperException):
                error = refusals.usage_error_for(error, arguments, app.VERBS)
            described = as_bmc_error(error)
            return _complain(described)


def _complain(error: BmcError) -> int:
    """Print why a command ended, and return its exit code; several processes may end alike.

    Another process than the first waits, so that a launcher can end it, which ends all on an error.
    """
    name = ""
    if not processes.is_first():
        with suppress(KeyboardInterrupt):
            time.sleep(1)
            name = f"process {processes.number()}: "
    if name or processes.is_first():
        console.complain(f"{name}{error}")
    return error.exit_code
