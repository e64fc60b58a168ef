"""Score against latency, size and memory, with the Pareto fronts and a name for every point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bmc.measure.shown import significant
from bmc.report.axes import Axis, linear_axis, log_axis
from bmc.report.labels import Box, Label, place
from bmc.report.line import Line, Report
from bmc.report.pareto import COSTS, front_of
from bmc.report.templates import render
from bmc.report.words import score_names, target_styles

_WIDTH, _HEIGHT = 360, 280
_AREA = Box(40, 26, 352, 240)  # of a panel, in which points and labels stand
_MAX_INTERVALS = 16  # with more points, the intervals would hide them
_MAX_NAMED = 8  # with more points, or where names would stand far from them, labels are numbers
_TITLES = {
    "latency": "latency (p50), ms at batch 1",
    "size": "size of the model, MB",
    "memory": "memory after the first prediction, MB",
}
_SHAPES = (
    *("M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "M-4.5-4.5h9v9h-9z", "M0-6l6 10.4h-12z"),
    *("M0-6.3l6.3 6.3l-6.3 6.3l-6.3-6.3z", "M-6-2h4v-4h4v4h4v4h-4v4h-4v-4h-4z", "M0 6l6-10.4h-12z"),
)


@dataclass(frozen=True)
class Point:
    """A bundle in a panel.

    Args:
        number: number of the bundle in the report.
        line: the bundle.
        x: pixels from the left.
        y: pixels from the top.
        low: pixel of the lower end of the score's interval.
        high: pixel of the upper end.
        style: number of the target's color and shape.
        shape: SVG path of the mark.
        is_best: whether the bundle is on the Pareto front.
        label: the placed label; None where there is no room, which only numbers can lack.
        cost: the cost with its unit.
    """

    number: int
    line: Line
    x: float
    y: float
    low: float
    high: float
    style: int
    shape: str
    is_best: bool
    label: Label | None
    cost: str


@dataclass(frozen=True)
class Panel:
    """A picture of scores against one cost.

    Args:
        title: the cost with its unit.
        points: the bundles.
        front: SVG path of the Pareto front.
        best: names of the bundles on the front.
        across: pixels and texts of the ticks of the cost.
        up: pixels and texts of the ticks of the score.
    """

    title: str
    points: list[Point]
    front: str
    best: list[str]
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]


def section(report: Report) -> Markup:
    """Return the panels of each data set; "" where no bundle has a score."""
    styles = target_styles(report.lines)
    groups = []
    for data, lines in report.by_data().items():
        scored = [line for line in lines if line.accuracy]
        if not scored:
            continue
        for with_names in (True, False):
            panels = [_panel(cost, scored, report, styles, with_names) for cost in COSTS]
            shown = [panel for panel in panels if panel]
            labels = [point.label for panel in shown for point in panel.points]
            if all(label is not None and not label.is_far for label in labels):
                break
        groups.append(
            {
                "data": data,
                "panels": shown,
                "lines": scored,
                "with_names": with_names,
                "score": score_names(scored),
                "best": {name for panel in shown for name in panel.best},
                "timed": any(line.p50 for line in scored),
            }
        )
    if not groups:
        return Markup("")
    values = {
        "groups": groups,
        "numbers": report.numbers,
        "styles": styles,
        "shapes": _SHAPES,
        "area": _AREA,
        "size": (_WIDTH, _HEIGHT),
    }
    return render("tradeoffs.html", values)


def _panel(
    cost: str, lines: Sequence[Line], report: Report, styles: dict[str, int], with_names: bool
) -> Panel | None:
    """Draw the bundles that have this cost; None where there are none."""
    entries = [
        (line, value, 100 * line.accuracy.value)
        for line in lines
        if line.accuracy and (value := COSTS[cost](line)) is not None and value > 0
    ]
    if not entries:
        return None
    has_intervals = len(entries) <= _MAX_INTERVALS
    across = log_axis([value for _, value, _ in entries], _AREA.left, _AREA.right)
    up = _score_axis([line for line, _, _ in entries], has_intervals)
    places = [(across.at(value), up.at(score)) for _, value, score in entries]
    labels: Sequence[Label | None] = [None] * len(entries)
    if not with_names or len(entries) <= _MAX_NAMED:
        texts = [
            line.name if with_names else str(report.numbers[line.name]) for line, _, _ in entries
        ]
        labels = place(places, texts, _AREA) or labels
    best = front_of(lines, cost)
    points = [
        Point(
            number=report.numbers[line.name],
            line=line,
            x=x,
            y=y,
            low=up.at(100 * line.accuracy.low) if line.accuracy and has_intervals else y,
            high=up.at(100 * line.accuracy.high) if line.accuracy and has_intervals else y,
            style=styles[line.target],
            shape=_SHAPES[styles[line.target]],
            is_best=line.name in best,
            label=label,
            cost=f"{significant(value)} {'ms' if cost == 'latency' else 'MB'}",
        )
        for (line, value, _), (x, y), label in zip(entries, places, labels, strict=True)
    ]
    return Panel(
        _TITLES[cost],
        points,
        _front_path(points),
        best,
        across.ticks(5),
        up.ticks(6),
    )


def _score_axis(lines: Sequence[Line], has_intervals: bool) -> Axis:
    """Return the axis of the scores in percent, from the bottom up."""
    intervals = [line.accuracy for line in lines if line.accuracy]
    values = [100 * interval.value for interval in intervals]
    if has_intervals:
        values += [100 * end for interval in intervals for end in (interval.low, interval.high)]
    return linear_axis(values, _AREA.bottom, _AREA.top)


def _front_path(points: Sequence[Point]) -> str:
    """Return the steps between the bundles of the front: the best score at each cost."""
    corners = sorted({(point.x, point.y) for point in points if point.is_best})
    if len(corners) < 2:
        return ""
    steps = "".join(f"H{x:.4g}V{y:.4g}" for x, y in corners[1:])
    return f"M{corners[0][0]:.4g} {corners[0][1]:.4g}{steps}"
