"""What `bmc check` shows."""

from __future__ import annotations

from dataclasses import asdict

from bmc.rendering.answer import Answer
from bmc.workflows.check import CheckedBundle


def checked(result: CheckedBundle) -> Answer:
    """Render that a bundle answers here as it did where it was made."""
    found = result.found
    rows = f"its {found.rows} golden rows and their labels too" if found.rows else "tensors alone"
    line = (
        f"{result.path}: right. {found.version} on {found.execution['device']} answers as where "
        f"it was made (largest change {found.max_error:.1g}; {rows})"
    )
    return Answer({"bundle": str(result.path), **asdict(found)}, (line,))
