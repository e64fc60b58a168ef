"""Check a bundle on this device: checksums, golden rows and golden outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bmc import checking, console, isolation, workspace
from bmc.checking import Checked
from bmc.isolation import Limits
from bmc.targets import RuntimeOptions


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
    reference: str | None = None, threads: int = 0, limits: Limits | None = None
) -> CheckedBundle:
    """Compare a bundle's hashes, then what it answers to its golden rows.

    Args:
        reference: a bundle's folder, or its name in the workspace; the newest when None.
        threads: threads of the CPU; 0 leaves the choice to the run time.
        limits: check it in a child process with these limits; None checks it here.

    Raises:
        UnknownError: there is no such bundle.
        ArtifactError: the bundle is damaged.
        GateError: it answers otherwise here.
        MissingError: its run time is not here.
    """
    folder = workspace.find(reference, "bundle") if reference else workspace.newest("bundle")
    if limits:
        found = isolation.check(folder, threads, limits)
    else:
        found = checking.check(folder, RuntimeOptions(threads=threads))
    for lack in found.uncovered:
        console.note(f"{folder} was written by an older bmc: {lack}; export it again")
    return CheckedBundle(folder, found)
