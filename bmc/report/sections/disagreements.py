"""Rows that a student and its teacher predict differently."""

from __future__ import annotations

from markupsafe import Markup

from bmc.report.line import Line, Report
from bmc.report.templates import render

_MAX_OPEN = 1


def section(report: Report) -> Markup:
    """Return the rows for each student; "" where no student has its teacher in the report."""
    groups: dict[object, list[Line]] = {}
    for line in report.lines:
        found = line.disagreements
        if found and not line.floor:
            rows = tuple(row.row for row in found.rows)
            key = (line.model, found.different, found.only_student, found.only_teacher, rows)
            groups.setdefault(key, []).append(line)
    entries = [
        {
            "names": [line.name for line in lines],
            "found": lines[0].disagreements,
            "rows": lines[0].rows,
            "has_text": any(
                row.text is not None
                for row in (lines[0].disagreements.rows if lines[0].disagreements else ())
            ),
        }
        for lines in groups.values()
    ]
    if not entries:
        return Markup("")
    return render("disagreements.html", {"entries": entries, "most": _MAX_OPEN})
