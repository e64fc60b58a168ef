"""bmc check"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from bmc.cli.options import Answer, BundleName, Coded

if TYPE_CHECKING:
    from bmc.workflows.check import CheckedBundle

PANEL = "Check"


def check(
    bundle: BundleName = None,
    /,
    *,
    threads: int = 0,
    isolated: bool = False,
    memory_limit: float = 2.0,
    time_limit: float = 20.0,
    common: Coded = Coded(),
) -> Answer:
    """Check a bundle on this device: checksums, golden rows and golden outputs.

    The sha256 of every file is compared. Then the bundle's golden rows are preprocessed and run:
    tensors, outputs and labels must be those that were recorded at export. A TensorRT engine of
    another TensorRT version or GPU is rebuilt from the bundle's ONNX file first.

    Args:
        bundle: a bundle's folder, or its name in the workspace; the newest when left out.
        threads: CPU threads; 0 lets the run time choose.
        isolated: run the check in a child process with limits, so that a crash of the run time ends
            that process alone. Use it for a bundle from somebody else.
        memory_limit: memory of an isolated check in GiB, beyond the run time's own.
        time_limit: seconds of an isolated check.

    Example:
        bmc check tiny-movie-reviews-onnx
        bmc check ./bundle-from-somebody-else --isolated
    """
    from bmc.isolation import Limits
    from bmc.workflows import check as workflow

    common.begin()
    limits = Limits(memory_limit, time_limit) if isolated else None
    checked = workflow.check(bundle, threads, limits)
    return Answer({"bundle": str(checked.path), **asdict(checked.found)}, (_line(checked),))


def _line(checked: CheckedBundle) -> str:
    found = checked.found
    rows = f"its {found.rows} golden rows and their labels too" if found.rows else "tensors alone"
    return (
        f"{checked.path}: right. {found.version} on {found.execution['device']} answers as where "
        f"it was made (largest change {found.max_error:.1g}; {rows})"
    )
