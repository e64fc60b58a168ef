"""Render the result of `bmc check`."""

from __future__ import annotations

import math
from dataclasses import asdict

from bmc.rendering.rendered import Rendered
from bmc.workflows.check import BundleCheck


def checked(result: BundleCheck) -> Rendered:
    """Render what the check of a bundle measured; a bundle that was not run shows only its path."""
    measured = result.result
    if measured is None:
        return Rendered({"bundle": str(result.path)})
    rows = (
        f"its {measured.rows} golden rows and their labels too"
        if measured.rows
        else "tensors alone"
    )
    line = (
        f"{result.path}: right. {measured.version} on {measured.execution['device']} answers as "
        f"where it was made (largest change {measured.max_error:.1g}; {rows})"
    )
    figures = asdict(measured)
    if not math.isfinite(measured.max_error):  # JSON has no NaN
        figures["max_error"] = None
    return Rendered({"bundle": str(result.path), **figures}, (line,))
