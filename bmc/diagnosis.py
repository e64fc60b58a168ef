"""Turn errors of Python and of other libraries into errors of bmc."""

from __future__ import annotations

import os
from pathlib import Path

from bmc import plugins
from bmc.errors import BmcError, ModelCodeError
from bmc.files import storage_error
from bmc.user_code import line_of, summary_of


def as_bmc_error(error: Exception) -> BmcError:
    """Return the bmc error for a missing package, a failing disk or an error in the user's code.

    An error of bmc is returned as it is. Any other error is a bug in bmc, and the message says so.
    """
    if isinstance(error, BmcError):
        return error
    if isinstance(error, ModuleNotFoundError):
        try:
            return plugins.missing(error, "this command")
        except ModuleNotFoundError:  # a module of bmc itself
            pass
    path = getattr(error, "filename", None)
    disk_error = storage_error(error, Path(os.fsdecode(path) if path else "."))
    if disk_error:
        return disk_error
    line = line_of(error)
    if line:
        return ModelCodeError(f"your code fails in {line}: {summary_of(error)}")
    return BmcError(
        f"unexpected {type(error).__name__}: {error} "
        "(this is a bug in bmc: BMC_DEBUG=1 shows where; please report it)"
    )
