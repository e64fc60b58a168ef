"""Check a bundle on this device: checksums, golden rows and golden outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bmc import console, isolation, workspace
from bmc.checking import Checked
from bmc.checking import check as check_here
from bmc.isolation import Limits
from bmc.targets import RuntimeOptions
from bmc.workflows.options import Checking


@dataclass(frozen=True)
class CheckedBundle:
    """A bundle that answers here as it did where it was made.

    Args:
        path: the bundle's folder.
        found: what was compared.
    """

    path: Path
    found: Checked


def check(
    reference: str | None = None,
    checking: Checking = Checking(),  # noqa: B008  frozen
) -> CheckedBundle:
    """Compare a bundle's hashes, then what it answers to its golden rows.

    Args:
        reference: a bundle's folder, or its name in the workspace; the newest when None.
        checking: threads of the CPU, and whether to check in a child process with limits.

    Raises:
        UnknownError: there is no such bundle.
        ArtifactError: the bundle is damaged.
        GateError: it answers otherwise here.
        MissingError: its runtime is not here.
    """
    folder = workspace.find(reference, "bundle") if reference else workspace.newest("bundle")
    if checking.isolated:
        limits = Limits(checking.memory_limit, checking.time_limit)
        found = isolation.check(folder, checking.threads, limits)
    else:
        found = check_here(folder, RuntimeOptions(threads=checking.threads))
    for lack in found.uncovered:
        console.note(f"{folder} was written by an older bmc: {lack}; export it again")
    return CheckedBundle(folder, found)
