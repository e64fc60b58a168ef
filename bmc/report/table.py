"""A report as text: a table for the terminal, and the same as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from bmc.cards import code_block
from bmc.console import printable
from bmc.measure import results, tables
from bmc.measure.custom import custom_scores
from bmc.measure.scores import Interval
from bmc.measure.shown import MEASURES, is_wide, significant, with_interval
from bmc.report import devices
from bmc.report.answer import answers
from bmc.report.line import Line, Report

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
_WIDE = " ?"
# Measures besides which there are others that the table lacks.
_OWN_LINE = ("r2", "micro_f1", "span_f1", "recall_at_10")
# What Markdown would obey; an underscore inside a word is none.
_MARKS = re.compile(r"([\\`*\[\]<>|~#&]|(?<!\w)_|_(?!\w))")


def cells(line: Line) -> tuple[str, ...]:
    """Return the figures of one bundle, each with its 95 % interval if it has one."""
    if line.failed:
        failed = f"failed: {printable(line.failed)}"
        return (printable(line.name), failed, *[""] * (len(COLUMNS) - 2))
    score = _percent(line.accuracy) + _unit(line) + (" *" if line.note else "")
    return (
        printable(line.name),
        score,
        _percent(line.macro_f1),
        _percent(line.agreement),
        significant(line.model_bytes / 1e6),
        _time(line.p50) if line.threads is not None else _not_run(line, " here"),
        _time(line.p90) if line.threads is not None else "",
        str(line.threads) if line.threads is not None else "",
        _ratio(line.speed_up),
        _ratio(line.speed_up_same_target),
    )


def terminal(report: Report) -> Table:
    """Return the report's table for a terminal; bundles that failed or are broken are red."""
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
    for name in report.broken:
        table.add_row(name, "broken", style="red")
    return table


def on_devices(report: Report) -> Iterator[Table]:
    """Yield a table for each other device: one table of all is too wide for a terminal."""
    for device in report.devices:
        table = Table(title=device.name, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("bundle", overflow="fold")
        for title in devices.TITLES:
            table.add_column(title, justify="right", no_wrap=True)
        for line in report.lines:
            cells = devices.cells_on(device, line)
            if any(cells):
                table.add_row(line.name, *cells)
        yield table


def _add(table: Table, line: Line) -> None:
    if line.failed:
        table.add_row(line.name, "failed", style="red")
        return
    table.add_row(
        line.name,
        _half_width(line.accuracy) + _unit(line) + ("*" if line.note else ""),
        _share(line.macro_f1),
        _share(line.agreement),
        significant(line.model_bytes / 1e6),
        _point(line.p50) if line.threads is not None else _not_run(line),
        _point(line.p90) if line.threads is not None else "",
        _ratio(line.speed_up),
        style="red" if line.cannot_run else "dim" if line.floor else None,
    )


def markdown(report: Report) -> str:
    """Return the report as Markdown; names and labels are shown as they are, never obeyed."""
    found = ["# bmc report", *(f"**{escaped(text)}**" for text in answers(report).values())]
    if report.gates:
        found.append("\n".join(_verdicts(report)))
    for data, lines in report.by_data().items():
        head = (*COLUMNS, *map(escaped, devices.columns(report)))
        rows = [head, tuple("---" for _ in head)]
        rows += [(*_row(line), *devices.cells(report, line)) for line in lines]
        found.append(f"## {escaped(data)}\n\n{_table(rows)}")
    found.append("\n".join(f"- {escaped(note)}" for note in notes(report)))
    found += [
        f"## {escaped(line.name)} by class\n\n{_classes(line)}"
        for line in report.lines
        if tables.has_classes(line.scores)
    ]
    commands = dict.fromkeys(line for each in report.lines for line in each.lineage.commands)
    if commands:
        found.append(f"## Commands\n\n{code_block(list(commands))}")
    return "\n\n".join(found) + "\n"


def _verdicts(report: Report) -> Iterator[str]:
    """Yield a line for each gate and bundle, those that failed first."""
    for verdict in sorted(report.gates, key=lambda verdict: verdict.passed):
        yield f"- {'' if verdict.passed else '**failed** '}{escaped(verdict.message)}"


def escaped(text: str) -> str:
    """Escape a text for Markdown, and put it on one line."""
    return _MARKS.sub(r"\\\1", " ".join(printable(text).split()))


def _row(line: Line) -> tuple[str, ...]:
    """Return a bundle's cells; only its name and why it failed are not bmc's own words."""
    name, first, *others = cells(line)
    return (escaped(name), escaped(first) if line.failed else first, *others)


def _escaped(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(escaped(cell) for cell in row)


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _classes(line: Line) -> str:
    """Return a table of a bundle's classes, for few classes with the confusion matrix."""
    few = "confusion" in line.scores and tables.has_matrix(line.labels)
    names = [f"answered {label}" for label in line.labels] if few else []
    head = ("class", "precision", "recall", "F1", tables.unit_of(line.scores), *names)
    rows = [_escaped(head), tuple("---" for _ in head)]
    for label, *ratios, count, row in tables.class_rows(line.scores, line.labels):
        counts = [str(number) for number in row] if few else []
        headings = [f"{ratio:.3f}" for ratio in ratios]
        rows.append((escaped(label), *headings, str(count), *counts))
    return _table(rows)


def notes(report: Report) -> Sequence[str]:
    """Say what the figures mean, what must be known of bundles, and where they were measured."""
    found = ["[..] is the 95 % interval; scores are of the held-out rows, answered by the bundle"]
    rows = {line.data: (line.rows, line.unit) for line in report.lines if line.rows}
    units = {unit for _, unit in rows.values()}
    if len(rows) == 1:
        count, unit = next(iter(rows.values()))
        found[0] += f" ({count:,} {unit})"
    elif rows and units == {"rows"}:
        listed = ", ".join(f"{data} {count:,}" for data, (count, _) in rows.items())
        found[0] += f" ({listed} rows)"
    elif rows:
        listed = ", ".join(f"{data} {count:,} {unit}" for data, (count, unit) in rows.items())
        found[0] += f" ({listed})"
    if any(line.note for line in report.lines):
        found.append(
            "* the engine was built, not run here: the score is that of the ONNX file it was "
            "built from"
        )
    found += [f"{line.name} {line.failed}" for line in report.lines if line.failed]
    found += [f"{name} is left out: {reason}" for name, reason in report.broken.items()]
    found += [
        f"{sample.name} fails when it is run: {sample.cannot_run}"
        for sample in report.lines
        if sample.cannot_run
    ]
    found += [*_of_floor(report), *report.notes, *_of_scores(report)]
    for line in report.lines:
        if line.kept:
            faster = ""
            if line.speed_up_same_target:
                ratio = _ratio(line.speed_up_same_target)
                faster = f", and answers {ratio} times faster than {line.same_target}"
            kept = _percent(line.kept)
            found.append(f"{line.name} keeps {kept} % of its teacher's accuracy{faster}")
    found += [f"{line.name}: {remark}" for line in report.lines for remark in line.remarks]
    if report.run:
        found += _of_times(report, report.run)
    found += devices.notes(report)
    return [printable(note) for note in found]


def _of_floor(report: Report) -> Iterator[str]:
    """Say what the simple models are, in one sentence for each data set."""
    grouped = report.by_data()
    for data, lines in grouped.items():
        simple = [f"{line.name} is {line.floor}" for line in lines if line.floor]
        if simple:
            floor = f"floor of {data}" if len(grouped) > 1 else "floor"
            yield (
                f"{floor}: {'; '.join(simple)}. The difference from these simple models is what a "
                "network is worth (--no-floor leaves them out)"
            )


def _of_scores(report: Report) -> Iterator[str]:
    """Return the classes without a correct prediction, once for bundles with equal predictions."""
    bundles: dict[str, list[str]] = {}
    for line in report.lines:
        remarks = tables.remarks(line.scores, line.labels)
        own_line = line.measure in _OWN_LINE and line.scores
        if own_line or custom_scores(line.scores):
            remarks.append(tables.line(line.scores, "held-out"))
        for remark in remarks:
            bundles.setdefault(remark, []).append(line.name)
    for remark, names in bundles.items():
        yield f"{', '.join(names)}: {remark}"


def _of_times(report: Report, run: results.Run) -> Iterator[str]:
    machine, settings = run.machine, run.settings
    counts = ", ".join(map(str, run.threads))
    launches = max((len(sample.nanoseconds) for sample in run.samples), default=settings.launches)
    yield (
        f"latency: batch {settings.batch}, {settings.length} tokens, the better of {counts} "
        f"threads, measured in turn in {launches} launches"
    )
    wide = [line.name for line in report.lines if any(map(is_wide, _times_of(line)))]
    if wide:
        yield (
            f"?: the upper end of the interval is more than twice its lower end, after {launches} "
            f"launches: too unsteady here to compare {', '.join(wide)}"
        )
    yield from results.cut_rows(run)
    sizes = {data: len(lines) for data, lines in report.by_data().items()}
    compared = {data: name for data, name in report.references.items() if sizes[data] > 1}
    if compared:
        several = len(sizes) > 1
        headings = [f"{name} ({data})" if several else name for data, name in compared.items()]
        yield f"times faster: than {', '.join(headings)}; same target: than the teacher there"
    yield (
        f"{run.device or 'machine'}: {machine['processor']}, {machine['cores']} cores, "
        f"{', '.join(machine['instructions'])}"
    )


def _times_of(line: Line) -> tuple[Interval | None, ...]:
    return line.p50, line.p90, line.speed_up, line.speed_up_same_target


def _unit(line: Line) -> str:
    """Return the name of a score that is no accuracy, which its column's heading does not have."""
    name = MEASURES.get(line.measure, "")
    return f" {name}" if name not in ("", "accuracy") else ""


def _half_width(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return (
        f"{significant(100 * interval.value)} ±{significant(50 * (interval.high - interval.low))}"
    )


def _share(interval: Interval | None) -> str:
    return "" if interval is None else significant(100 * interval.value)


def _not_run(line: Line, short: str = "") -> str:
    return "fails" if line.cannot_run else f"not run{short}"


def _point(interval: Interval | None) -> str:
    """Return a time in words; a time with a wide interval is marked."""
    if interval is None:
        return ""
    return significant(interval.value) + (_WIDE if is_wide(interval) else "")


def _percent(interval: Interval | None) -> str:
    return "" if interval is None else with_interval(interval, 100)


def _time(interval: Interval | None) -> str:
    return with_interval(interval) + (_WIDE if is_wide(interval) else "")


def _ratio(interval: Interval | None) -> str:
    return "" if interval is None else _time(interval)
