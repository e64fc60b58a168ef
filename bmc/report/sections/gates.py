"""The gates of a report, those that failed first."""

from __future__ import annotations

from markupsafe import Markup

from bmc.report.line import Report
from bmc.report.templates import render


def section(report: Report) -> Markup:
    """Return the verdicts of all gates; "" for a report without gates."""
    if not report.gates:
        return Markup("")
    failed = [verdict for verdict in report.gates if not verdict.passed]
    passed = [verdict for verdict in report.gates if verdict.passed]
    values = {"failed": failed, "passed": passed, "count": len(report.gates)}
    return render("gates.html", values)
