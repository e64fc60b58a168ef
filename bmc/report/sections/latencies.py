"""The distribution of each bundle's latency, on one axis."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from bmc.measure.shown import significant
from bmc.report.axes import Axis, log_axis, pixel
from bmc.report.distribution import Distribution
from bmc.report.line import Line, Report
from bmc.report.templates import render
from bmc.report.words import target_styles

_WIDTH, _HEIGHT = 600.0, 30.0


@dataclass(frozen=True)
class Strip:
    """The distribution of one bundle.

    Args:
        number: number of the bundle in the report.
        line: the bundle.
        style: number of the target's color.
        shape: SVG path of the density.
        median: percent of the width at which the p50 is; None where it is unknown.
        p90: likewise of the p90.
        p99: likewise of the p99.
        figures: p50, p90 and p99 as text.
        calls: number of measured calls.
        slowest: the longest call as text.
    """

    number: int
    line: Line
    style: int
    shape: str
    median: float | None
    p90: float | None
    p99: float | None
    figures: tuple[str, str, str]
    calls: int
    slowest: str


def section(report: Report) -> Markup:
    """Return a strip for each measured bundle, a group for each data set; "" without latencies."""
    styles = target_styles(report.lines)
    groups = []
    for data, lines in report.by_data().items():
        measured = [(line, line.distribution) for line in lines if line.distribution]
        if not measured:
            continue
        ends = [end for _, found in measured for end in (found.low, found.high)]
        axis = log_axis(ends, 0, _WIDTH, room=0.02)
        strips = [
            _strip(line, distribution, axis, report.numbers[line.name], styles[line.target])
            for line, distribution in measured
        ]
        ticks = [(_percent(x), text) for x, text in axis.ticks(7)]
        groups.append({"data": data, "strips": strips, "ticks": ticks})
    if not groups:
        return Markup("")
    return render("latencies.html", {"groups": groups, "size": (_WIDTH, _HEIGHT)})


def _strip(line: Line, distribution: Distribution, axis: Axis, number: int, style: int) -> Strip:
    values = (
        line.p50.value if line.p50 else None,
        line.p90.value if line.p90 else None,
        distribution.p99,
    )
    figures = tuple("–" if value is None else significant(value) for value in values)
    median, p90, p99 = (None if value is None else _percent(axis.at(value)) for value in values)
    return Strip(
        number,
        line,
        style,
        _density(distribution, axis),
        median,
        p90,
        p99,
        (figures[0], figures[1], figures[2]),
        distribution.calls,
        significant(distribution.slowest),
    )


def _density(distribution: Distribution, axis: Axis) -> str:
    """Return the outline of the counts, as high as the strip at the largest count."""
    start, end = axis.at(distribution.low), axis.at(distribution.high)
    step = (end - start) / len(distribution.counts)
    largest = max(distribution.counts)
    points = [
        f"L{pixel(start + (index + 0.5) * step)} {pixel(_HEIGHT * (1 - count / largest))}"
        for index, count in enumerate(distribution.counts)
    ]
    return f"M{pixel(start)} {pixel(_HEIGHT)}{''.join(points)}L{pixel(end)} {pixel(_HEIGHT)}z"


def _percent(x: float) -> float:
    return round(100 * min(max(x / _WIDTH, 0.0), 1.0), 2)
