"""bmc check"""

from __future__ import annotations

from dataclasses import asdict

from bmc.cli._common import Answer, Common
from bmc.isolation import Limits
from bmc.workflows import check as workflow
from bmc.workflows.check import CheckedBundle


def check(
    bundle: str | None = None,
    /,
    *,
    threads: int = 0,
    isolated: bool = False,
    memory_limit: float = 2.0,
    time_limit: float = 20.0,
    common: Common = Common(),  # noqa: B008  frozen
) -> Answer:
    """Check a bundle on this device: checksums, golden rows and golden outputs.

    Every file's sha256 is compared. Then the raw golden rows must become the tensors, and these
    give the outputs and labels, that they gave where the bundle was made. A TensorRT engine that
    was built for another version or GPU is rebuilt from the bundle's ONNX file first.

    Args:
        bundle: a bundle's folder, or its name in the workspace; the newest when left out.
        threads: threads of the CPU; 0 leaves the choice to the run time.
        isolated: check it in a child process with limits, which a crash of the run time ends
            alone: for a bundle from somebody else, before anything loads it.
        memory_limit: GiB that an isolated check may use beyond the run time itself.
        time_limit: seconds that an isolated check may take.
    """
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
