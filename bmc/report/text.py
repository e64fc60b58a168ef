"""A report as text: a table for the terminal, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from bmc.measure import results
from bmc.measure.scores import Interval
from bmc.report.collect import Line, Report

COLUMNS = (
    "bundle",
    "accuracy %",
    "F1 %",
    "as teacher %",
    "MB",
    "p50 ms",
    "p90 ms",
    "threads",
    "times faster",
    "same target",
)


def cells(line: Line) -> tuple[str, ...]:
    """Write one bundle's figures, each with its 95 % interval where it has one."""
    if line.failed:
        return (line.name, f"failed: {line.failed}", *[""] * (len(COLUMNS) - 2))
    score = _percent(line.accuracy) + _unit(line) + (" *" if line.note else "")
    return (
        line.name,
        score,
        _percent(line.macro_f1),
        _percent(line.agreement),
        f"{line.model_bytes / 1e6:.1f}",
        _number(line.p50, 2) if line.threads is not None else "not run here",
        _number(line.p90, 2) if line.threads is not None else "",
        str(line.threads) if line.threads is not None else "",
        _number(line.speed_up, 1) if line.speed_up else "",
        _number(line.speed_up_same_target, 1) if line.speed_up_same_target else "",
    )


def terminal(report: Report) -> Table:
    """Return the report's table for a terminal; failed bundles are red."""
    table = Table(title="bmc report", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("bundle", overflow="fold")
    for column in ("accuracy %", "F1 %", "as teacher", "MB", "p50 ms", "p90 ms", "times faster"):
        table.add_column(column, justify="right", no_wrap=True)
    grouped = report.by_data()
    for data, lines in grouped.items():
        if len(grouped) > 1:
            table.add_row(f"{data}:", style="bold")
        for line in lines:
            _add(table, line)
        table.add_section()
    return table


def _add(table: Table, line: Line) -> None:
    if line.failed:
        table.add_row(line.name, "failed", style="red")
        return
    table.add_row(
        line.name,
        _half_width(line.accuracy) + _unit(line) + ("*" if line.note else ""),
        _point(line.macro_f1, 100, 1),
        _point(line.agreement, 100, 1),
        f"{line.model_bytes / 1e6:.1f}",
        _point(line.p50, 1, 2) if line.threads is not None else "not run",
        _point(line.p90, 1, 2) if line.threads is not None else "",
        _number(line.speed_up, 1) if line.speed_up else "",
    )


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    found = ["# bmc report"]
    for data, lines in report.by_data().items():
        rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(cells(line) for line in lines)]
        found.append(f"## {data}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))
    found.append("\n".join(f"- {note}" for note in notes(report)))
    return "\n\n".join(found) + "\n"


def notes(report: Report) -> Sequence[str]:
    """Say what the figures mean and where they were measured."""
    found = ["[..] is the 95 % interval; scores are of the held-out rows, answered by the bundle"]
    rows = {line.data: line.rows for line in report.lines if line.rows}
    if len(rows) == 1:
        found[0] += f" ({next(iter(rows.values())):,} rows)"
    elif rows:
        found[0] += f" ({', '.join(f'{data} {count:,}' for data, count in rows.items())} rows)"
    if any(line.note for line in report.lines):
        found.append(
            "* the engine was built, not run here: the score is that of the ONNX file it was "
            "built from"
        )
    found += [f"{line.name} {line.failed}" for line in report.lines if line.failed]
    for line in report.lines:
        if line.kept:
            found.append(f"{line.name} keeps {_percent(line.kept)} % of its teacher's accuracy")
    found += [f"{line.name}: {remark}" for line in report.lines for remark in line.remarks]
    if report.run:
        machine, settings = report.run.machine, report.run.settings
        found.append(
            f"latency: batch {settings.batch}, {settings.length} tokens, the better of "
            f"{', '.join(str(count) for count in sorted({row.threads for row in report.run.rows}))}"
            f" threads, measured in turn in {settings.launches} launches"
        )
        found += results.cut_rows(report.run)
        references = ", ".join(report.references.values())
        found.append(f"times faster: than {references}; same target: than the teacher there")
        found.append(
            f"machine: {machine['processor']}, {machine['cores']} cores, "
            f"{', '.join(machine['instructions'])}"
        )
    return found


def _unit(line: Line) -> str:
    return " R2" if line.measure == "r2" else ""


def _half_width(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{100 * interval.value:.1f} ±{50 * (interval.high - interval.low):.1f}"


def _point(interval: Interval | None, scale: float, digits: int) -> str:
    return "" if interval is None else f"{scale * interval.value:.{digits}f}"


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return ""
    scaled = Interval(100 * interval.value, 100 * interval.low, 100 * interval.high)
    return _number(scaled, 1)


def _number(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return "too few samples"
    low, high = f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}"
    return f"{interval.value:.{digits}f} [{low}, {high}]"
