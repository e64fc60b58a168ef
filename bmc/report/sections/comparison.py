"""The table of all bundles, which the page's script sorts and filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide, significant, with_interval
from bmc.report.device import Device
from bmc.report.line import Line, Report
from bmc.report.pareto import fronts
from bmc.report.templates import render
from bmc.report.words import score_name

_WIDE = " ?"


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Args:
        title: title of the column.
        text: the figure.
        range: its 95 % interval as text; "" for none.
        value: number by which rows are sorted; None to sort by the text.
        tip: what the figure is about, shown when the mouse rests on it.
        device: name of the device that measured the figure; "" for this machine.
    """

    title: str
    text: str
    range: str = ""
    value: float | None = None
    tip: str = ""
    device: str = ""

    @property
    def full_title(self) -> str:
        """The title of the column with its device, for screens without a row of titles."""
        return f"{self.device}: {self.title}" if self.device else self.title


@dataclass(frozen=True)
class Row:
    """A bundle in the table.

    Args:
        number: number of the bundle in the report.
        line: the bundle.
        cells: its figures; none for a bundle that failed.
        fronts: costs for which it is on the Pareto front.
        tags: words by which the table is filtered, besides the name.
    """

    number: int
    line: Line
    cells: list[Cell]
    fronts: list[str]
    tags: str


def section(report: Report) -> Markup:
    """Return a table for each data set, and a list of what was left out."""
    tables = [_table(data, lines, report) for data, lines in report.by_data().items()]
    return render("comparison.html", {"tables": tables, "broken": report.broken})


def _table(data: str, lines: Sequence[Line], report: Report) -> dict[str, Any]:
    """Return the rows of a data set; columns without a figure are left out."""
    costs = fronts(lines)
    cells = {line.name: _all_cells(line, report) for line in lines if not line.failed}
    columns = {(cell.device, cell.title): cell for of_line in cells.values() for cell in of_line}
    filled = {
        (cell.device, cell.title) for of_line in cells.values() for cell in of_line if cell.text
    }
    # A bundle that was not measured on a device has one cell there, so that columns which other
    # bundles add may come after those of the next device.
    order = ["", *(device.name for device in report.devices)]
    shown = sorted((key for key in columns if key in filled), key=lambda key: order.index(key[0]))
    rows = [
        Row(
            report.numbers[line.name],
            line,
            [] if line.failed else _chosen(cells[line.name], shown),
            costs.get(line.name, []),
            " ".join((line.name, line.target, line.precision, line.model)).lower(),
        )
        for line in lines
    ]
    groups = [(device, sum(key[0] == device for key in shown)) for device in dict(shown)]
    return {
        "data": data,
        "columns": [Cell(title, "", device=device) for device, title in shown],
        "groups": groups if len(groups) > 1 else [],
        "rows": rows,
        "reference": report.references.get(data),
    }


def _chosen(cells: Sequence[Cell], columns: Sequence[tuple[str, str]]) -> list[Cell]:
    by_column = {(cell.device, cell.title): cell for cell in cells}
    return [
        by_column.get((device, title), Cell(title, "", device=device)) for device, title in columns
    ]


def _all_cells(line: Line, report: Report) -> list[Cell]:
    """Return a bundle's cells: figures of this machine, then those of each other device."""
    on_devices = [cell for device in report.devices for cell in _device_cells(line, device)]
    return [*_cells(line), *on_devices]


def _device_cells(line: Line, device: Device) -> list[Cell]:
    """Return a bundle's figures on another device; ratios are of that device alone."""
    times, machine = device.times.get(line.name), str(device.machine.get("processor", ""))
    if times is None:
        missing = "not run there" if line.name in device.skipped else ""
        return [Cell("p50 ms", missing, device=device.name)]
    cells = [
        _interval("p50 ms", times.p50, tip=machine),
        _interval("p90 ms", times.p90, tip=machine),
        _interval("times faster", times.speed_up, tip="measured in turn on that device"),
        _number("memory MB", times.peak_mb, machine),
        _interval("mJ a row", times.millijoules, tip="energy of all processors"),
    ]
    return [replace(cell, device=device.name) for cell in cells]


def _cells(line: Line) -> list[Cell]:
    times = line.threads is not None
    missing = "fails" if line.cannot_run else "not run here"
    threads = f"with {line.threads} thread{'' if line.threads == 1 else 's'}" if times else ""
    latency = _interval("p50 ms", line.p50, tip=threads) if times else Cell("p50 ms", missing)
    p99 = line.distribution.p99 if line.distribution else None
    score = f"{score_name(line.measure)} %" if line.measure else "score %"
    accuracy = _interval(score, line.accuracy, 100)
    if line.note and line.accuracy:
        accuracy = Cell(score, f"{accuracy.text} *", accuracy.range, accuracy.value, line.note)
    return [
        Cell("runs in", line.target),
        Cell("precision", line.precision),
        accuracy,
        _interval("F1 %", line.macro_f1, 100, tip="mean of the classes"),
        _interval("as teacher %", line.agreement, 100, tip="rows predicted as the teacher does"),
        _interval("kept %", line.kept, 100, tip="of the teacher's accuracy"),
        _number("MB", line.model_bytes / 1e6, "model file"),
        latency,
        _interval("p90 ms", line.p90) if times else Cell("p90 ms", ""),
        _number("p99 ms", p99),
        _interval("times faster", line.speed_up),
        _interval("same target", line.speed_up_same_target, tip=f"than {line.same_target}"),
    ]


def _number(title: str, value: float | None, tip: str = "") -> Cell:
    return Cell(title, "") if value is None else Cell(title, significant(value), "", value, tip)


def _interval(title: str, interval: Interval | None, scale: float = 1, tip: str = "") -> Cell:
    """Return a cell with an estimate; one with a wide interval is marked, as in other forms."""
    if interval is None:
        return Cell(title, "")
    text, _, ends = with_interval(interval, scale).partition(" [")
    mark = _WIDE if is_wide(interval) else ""
    return Cell(title, text + mark, f"[{ends}", scale * interval.value, tip)
