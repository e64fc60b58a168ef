"""Check a bundle on this device: checksums, golden rows and golden outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bmc import console, isolation, workspace
from bmc.checking import CheckResult
from bmc.checking import check as check_here
from bmc.errors import GateError
from bmc.isolation import Limits
from bmc.targets import RuntimeOptions
from bmc.workflows.options import Checking


@dataclass(frozen=True)
class BundleCheck:
    """A bundle that was checked on this device.

    Args:
        path: the bundle's folder, or the packed bundle.
        result: measured differences; None if the bundle failed before it was run.
    """

    path: Path
    result: CheckResult | None


def check(
    reference: str | None = None,
    checking: Checking = Checking(),
) -> BundleCheck:
    """Compare the hashes of a bundle's files, then its outputs for its golden rows.

    Args:
        reference: a bundle's folder, its name in the workspace, or a packed bundle; the newest
            bundle when None.
        checking: threads of the CPU, and whether to check in a child process with limits.

    Raises:
        UnknownError: there is no such bundle.
        ArtifactError: the bundle is damaged.
        GateError: the outputs on this device differ by more than the precision allows.
        MissingError: the bundle's runtime is not installed.
    """
    folder = workspace.find(reference, "bundle", packed=True)
    try:
        if checking.isolated:
            limits = Limits(checking.memory_limit, checking.time_limit)
            result = isolation.check(folder, checking.threads, limits)
        else:
            result = check_here(folder, RuntimeOptions(threads=checking.threads))
    except GateError as error:
        measured = error.result if isinstance(error.result, CheckResult) else None
        raise GateError(str(error), error.check, BundleCheck(folder, measured)) from error
    for lack in result.uncovered:
        console.note(f"{folder} was written by an older bmc: {lack}; export it again")
    return BundleCheck(folder, result)
