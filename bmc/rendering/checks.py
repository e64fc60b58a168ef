"""Render the result of `bmc check`."""

from __future__ import annotations

from dataclasses import asdict

from bmc.rendering.rendered import Rendered
from bmc.workflows.check import BundleCheck


def checked(result: BundleCheck) -> Rendered:
    """Render a bundle whose outputs on this device match the recorded outputs."""
    check = result.result
    rows = f"its {check.rows} golden rows and their labels too" if check.rows else "tensors alone"
    line = (
        f"{result.path}: right. {check.version} on {check.execution['device']} answers as where "
        f"it was made (largest change {check.max_error:.1g}; {rows})"
    )
    return Rendered({"bundle": str(result.path), **asdict(check)}, (line,))
