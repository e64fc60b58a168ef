"""What `bmc report` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmc.rendering.rendered import Rendered
from bmc.report import table
from bmc.report.line import Report

if TYPE_CHECKING:
    from bmc.workflows.report import Reported


def reported(result: Reported) -> Rendered:
    """Render a report that was written."""
    page = result.path / "index.html"
    wrote = f"wrote {result.path}: open {page} in a browser"
    content = {"output": str(result.path), **result.content}
    return Rendered(content, (*compared(result.report).shown, wrote))


def compared(report: Report) -> Rendered:
    """Render bundles side by side."""
    content = {
        "references": dict(report.references),
        "lines": [line.to_json() for line in report.lines],
        "broken": dict(report.broken),
    }
    return Rendered(content, (table.terminal(report), *table.notes(report)))
