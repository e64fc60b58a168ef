"""Write a report in all its forms: a page, Markdown, JSON, CSV and a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmc import disk
from bmc.files import write_json
from bmc.report import page, table
from bmc.report.answer import answer
from bmc.report.chart import svg
from bmc.report.line import Report
from bmc.report.spreadsheet import comma_separated

SCHEMA = 1
"""Version of report.json; docs/schemas/report.json describes it."""


def content_of(report: Report) -> dict[str, Any]:
    """Return the content of report.json."""
    return {
        "schema": SCHEMA,
        "answer": answer(report),
        "command": report.command,
        "references": dict(report.references),
        "machine": report.run.machine if report.run else None,
        "versions": report.run.versions if report.run else None,
        "settings": asdict(report.run.settings) if report.run else None,
        "devices": [asdict(device) for device in report.devices],
        "lines": [line.to_json() for line in report.lines],
        "broken": dict(report.broken),
        "notes": list(report.notes),
        "gates": [asdict(verdict) for verdict in report.gates],
    }


def write(report: Report, folder: Path) -> dict[str, Any]:
    """Write index.html, report.md, report.json, report.csv and report.svg into a folder.

    Returns:
        the content of report.json.
    """
    content = content_of(report)
    write_json(folder / "report.json", content)
    disk.write(folder / "report.md", table.markdown(report).encode())
    disk.write(folder / "report.csv", comma_separated(report).encode())
    disk.write(folder / "report.svg", svg(report).encode())
    disk.write(folder / "index.html", page.html(report).encode())
    return content
