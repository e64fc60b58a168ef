"""`bmc check` on a device that has no Typer and no rich: `python -m bmc.slim` removes them."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence

from bmc import console, streams
from bmc.diagnosis import as_bmc_error
from bmc.errors import MissingError
from bmc.termination import exit_code_of

_INSTALL = (
    "bmc {verb} needs the packages typer and rich, which are not installed here: pip install typer "
    "rich (bmc check BUNDLE works without them)"
)


def run(arguments: Sequence[str]) -> int:
    """Run `bmc check`, and refuse every other verb; return the exit code."""
    try:
        return _check(_parsed(arguments))
    except KeyboardInterrupt as stopped:
        return exit_code_of(stopped)
    except Exception as error:
        if os.environ.get("BMC_DEBUG") == "1":
            raise
        described = as_bmc_error(error)
        console.complain(str(described))
        return described.exit_code


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    if not arguments or arguments[0] != "check":
        verb = arguments[0] if arguments and not arguments[0].startswith("-") else "--help"
        raise MissingError(_INSTALL.format(verb=verb))
    parser = argparse.ArgumentParser("bmc check")
    parser.add_argument("bundle", nargs="?", help="folder, name in the workspace, or packed bundle")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: the runtime's own")
    parser.add_argument("--isolated", action="store_true", help="in a child process with limits")
    parser.add_argument("--memory-limit", type=float, default=2.0, help="of the child, in GiB")
    parser.add_argument("--time-limit", type=float, default=20.0, help="of the child, in seconds")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(arguments[1:])


def _check(options: argparse.Namespace) -> int:
    from bmc.rendering import checks, printing
    from bmc.rendering.rendered import render_result
    from bmc.workflows import check
    from bmc.workflows.options import Checking

    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(Checking)}
    console.set_mode(quiet=True, json=options.json)
    to_stderr = console.Callback(lambda event: print(event.text, file=streams.stderr()))
    with streams.results_alone(), console.reporting(to_stderr):
        rendered = render_result(checks.checked, check.check, options.bundle, Checking(**values))
        return printing.print_result(rendered)
