"""What `bmc report` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, cast

from bmc.errors import GateError
from bmc.rendering.rendered import Rendered, with_failures
from bmc.report import table
from bmc.report.line import Report

if TYPE_CHECKING:
    from bmc.workflows.report import Reported

P = ParamSpec("P")


def reported(work: Callable[P, Reported], *args: P.args, **kwargs: P.kwargs) -> Rendered:
    """Write a report, and render it, also if a bundle failed a gate.

    Args:
        work: the workflow; it is called with `args` and `kwargs`.
    """
    try:
        return _written(work(*args, **kwargs))
    except GateError as error:
        written = _written(cast("Reported", error.result))
        lines = tuple(f"FAILED {each}" for each in error.failures)
        return with_failures(Rendered(written.data, (*written.shown, *lines)), error)


def _written(result: Reported) -> Rendered:
    page = result.path / "index.html"
    wrote = f"wrote {result.path}: open {page} in a browser"
    content = {"output": str(result.path), **result.content}
    gates = result.report.gates
    has_passed = bool(gates) and all(verdict.passed for verdict in gates)
    passed = (f"all {len(gates)} checks of gates passed",) if has_passed else ()
    return Rendered(content, (*compared(result.report).shown, wrote, *passed))


def compared(report: Report) -> Rendered:
    """Render bundles side by side."""
    content = {
        "references": dict(report.references),
        "lines": [line.to_json() for line in report.lines],
        "broken": dict(report.broken),
    }
    tables = (table.terminal(report), *table.on_devices(report))
    return Rendered(content, (*tables, *table.notes(report)))
