"""The report's picture: accuracy against latency, and against size."""

from __future__ import annotations

from typing import Any

import altair
import vl_convert

from bmc.console import printable
from bmc.measure.shown import MEASURES
from bmc.report.line import Line, Report

_SIDE = 330
_EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
_PALETTE = ["#4c78a8", "#f58518", "#54a24b", "#b279a2"]


def svg(report: Report) -> str:
    """Draw the bundles that have a score; those that were not run here have no latency.

    Returns:
        one SVG document without references to anything outside.
    """
    grouped = report.by_data()
    rows = [
        _row(printable(data) if len(grouped) > 1 else "", lines)
        for data, lines in grouped.items()
        if any(line.accuracy for line in lines)
    ]
    if not rows:
        return _EMPTY
    chart = altair.vconcat(*rows).resolve_scale(shape="independent")
    chart = chart.configure_view(stroke=None).configure_axis(grid=True)
    drawn: str = vl_convert.vegalite_to_svg(chart.to_json())
    return drawn


def _row(title: str, lines: list[Line]) -> Any:
    """Draw the lines of one data set, side by side against latency and size."""
    points = [_point(line) for line in lines if line.accuracy]
    timed = [point for point in points if point["p50"] is not None]
    measures = {line.measure for line in lines}
    others = [
        f"{name}, %" for measure, name in MEASURES.items() if measure in measures - {"accuracy"}
    ]
    score = next(iter(others), "test accuracy, %")
    panels = [_panel(points, "megabytes", "model file, MB (log scale)", score)]
    if timed:
        panels.insert(0, _panel(timed, "p50", "latency, ms at batch 1 (p50, log scale)", score))
    return altair.hconcat(*panels, title=title)


def _point(line: Line) -> dict[str, Any]:
    accuracy = line.accuracy
    return {
        "model": printable(line.model),
        "target": line.target,
        "p50": line.p50.value if line.p50 else None,
        "megabytes": line.model_bytes / 1e6,
        "accuracy": 100 * accuracy.value if accuracy else None,
        "low": 100 * accuracy.low if accuracy else None,
        "high": 100 * accuracy.high if accuracy else None,
    }


def _panel(points: list[dict[str, Any]], column: str, title: str, score: str) -> Any:
    base = altair.Chart(altair.InlineData(values=points)).encode(
        x=altair.X(f"{column}:Q", title=title, scale=altair.Scale(type="log", padding=25)),
        color=altair.Color("target:N", title="target", scale=altair.Scale(range=_PALETTE)),
    )
    accuracy = altair.Scale(zero=False, padding=10)
    marks = base.mark_point(filled=True, size=130, opacity=0.85).encode(
        y=altair.Y("accuracy:Q", title=f"{score} (95 % interval)", scale=accuracy),
        shape=altair.Shape("model:N", title="model"),
    )
    bars = base.mark_rule(opacity=0.5).encode(
        y=altair.Y("low:Q", title=f"{score} (95 % interval)"), y2="high:Q"
    )
    return altair.layer(bars, marks).properties(width=_SIDE, height=_SIDE * 3 // 4)
