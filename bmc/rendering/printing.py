"""Print a command's result on stdout, and report a stdout that cannot be written to."""

from __future__ import annotations

import json

from bmc import console, processes, streams
from bmc.errors import StorageError
from bmc.rendering.rendered import Rendered
from bmc.termination import BROKEN_PIPE
from bmc.user_code import summary_of


def print_result(rendered: Rendered) -> int:
    """Print a result, as JSON with `--json`; return its exit code.

    Of several processes of one training the first prints.

    Returns:
        the exit code of `report_unprinted` if stdout cannot be written to.
    """
    if not processes.is_first():
        return rendered.exit_code
    try:
        if console.wants_json():
            print(json.dumps(rendered.data, indent=2), file=streams.results())
        else:
            console.say(*rendered.shown)
        streams.results().flush()
    except (OSError, streams.ReaderLeftError) as error:
        return report_unprinted(error)
    if rendered.failure:
        console.complain(rendered.failure)
    return rendered.exit_code


def report_unprinted(error: Exception) -> int:
    """Say that stdout could not be written to; a closed pipe, as with `| head`, is not reported.

    Returns:
        the exit code: that of a broken pipe, or of a full disk.
    """
    streams.discard_unwritten()
    if isinstance(error, (BrokenPipeError, streams.ReaderLeftError)):
        return BROKEN_PIPE
    console.complain(
        f"the command has run, but its result could not be printed: {summary_of(error)}"
    )
    return StorageError.exit_code
