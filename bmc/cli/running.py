"""Run one command line and return its exit code; every error becomes one line on stderr."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

import typer

from bmc import console, provenance, streams, writing
from bmc.cli import app, refusals
from bmc.diagnosis import as_bmc_error
from bmc.files import check_working_folder
from bmc.rendering.printing import print_result, report_unprinted
from bmc.rendering.rendered import Rendered
from bmc.termination import exit_code_of, message_for
from bmc.trust import trusting


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    line = shlex.join(["bmc", *arguments])
    with streams.results_alone(), writing.command(), provenance.command(line), trusting():
        try:
            check_working_folder()
            rendered = app.call(list(arguments))
            return print_result(rendered) if isinstance(rendered, Rendered) else 0
        except typer.Exit as left:
            return left.exit_code
        except KeyboardInterrupt as stopped:
            console.complain(message_for(arguments))
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
            console.complain(str(described))
            return described.exit_code
