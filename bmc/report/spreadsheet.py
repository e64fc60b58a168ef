"""A report as comma-separated values: a row for each bundle, raw numbers, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from bmc.console import printable
from bmc.measure.scores import Interval
from bmc.report.line import Line, Report

_INTERVALS = ("accuracy", "macro_f1", "agreement", "kept", "p50", "p90", "speed_up")
_UNITS = {"p50": "p50_ms", "p90": "p90_ms"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a text that starts so


def comma_separated(report: Report) -> str:
    """Return the lines of a report as CSV; intervals have columns of their own, `_low` and `_high`.

    Names are data: a text that a spreadsheet would compute as a formula begins with an apostrophe.
    """
    rows = [{**_row(line), **_on_devices(line, report)} for line in report.lines]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["name"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _row(line: Line) -> Mapping[str, Any]:
    texts = {
        "name": line.name,
        "model": line.model,
        "data": line.data,
        "target": line.target,
        "precision": line.precision,
        "measure": line.measure,
        "teacher": line.teacher,
        "origin": line.origin,
        "floor": line.floor,
        "failed": line.failed or line.failure or line.cannot_run,
    }
    numbers: dict[str, Any] = {
        "parameters": line.parameters,
        "rows": line.rows,
        "model_bytes": line.model_bytes,
        "bundle_bytes": line.bundle_bytes,
        "sparsity": line.sparsity,
        "drop_points": line.drop,
        "threads": line.threads,
        "p99_ms": line.distribution.p99 if line.distribution else None,
        "calls": line.distribution.calls if line.distribution else None,
        "cold_start_seconds": line.cold_start_seconds,
        "peak_mb": line.peak_mb,
    }
    row: dict[str, Any] = {key: _text(value) for key, value in texts.items()}
    for name in _INTERVALS:
        interval: Interval | None = getattr(line, name)
        column = _UNITS.get(name, name)
        row[column] = interval.value if interval else None
        row[f"{column}_low"] = interval.low if interval else None
        row[f"{column}_high"] = interval.high if interval else None
    return {**row, **numbers}


def _on_devices(line: Line, report: Report) -> dict[str, Any]:
    """Return the times on other devices, in columns that begin with the name of the device."""
    columns: dict[str, Any] = {}
    for device in report.devices:
        times = device.times.get(line.name)
        name = _text(device.name)
        columns[f"{name} p50_ms"] = times.p50.value if times and times.p50 else None
        columns[f"{name} speed_up"] = times.speed_up.value if times and times.speed_up else None
        columns[f"{name} peak_mb"] = times.peak_mb if times else None
    return columns


def _text(value: str | None) -> str:
    text = " ".join(printable(value or "").split())
    return f"'{text}" if text.startswith(_FORMULA) else text
