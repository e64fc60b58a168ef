"""Training curves: loss and score of each epoch, a panel for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bmc.curves import Epoch
from bmc.measure.shown import significant
from bmc.report.axes import linear_axis, pixel
from bmc.report.labels import Box
from bmc.report.line import Report
from bmc.report.templates import render

_AREA = Box(46, 24, 250, 120)
_MAX_DOTS = 40
_MAX_OPEN = 4  # trainings whose curves are shown without a click


@dataclass(frozen=True)
class Curve:
    """The values of one name over the epochs.

    Args:
        name: name of the values.
        line: points of the SVG polyline.
        dots: pixels of the values; none of many epochs.
        ticks: pixels and texts of the values' axis.
        last: the last value as text.
        epochs: number of epochs.
    """

    name: str
    line: str
    dots: list[tuple[float, float]]
    ticks: list[tuple[float, str]]
    last: str
    epochs: int


def section(report: Report) -> Markup:
    """Return the curves of each training, with the models that come from it; "" without any."""
    trainings: dict[tuple[tuple[tuple[str, float], ...], ...], list[str]] = {}
    for line in report.lines:
        key = tuple(tuple(epoch.items()) for epoch in line.history)
        if key and line.model not in trainings.setdefault(key, []):
            trainings[key].append(line.model)
    entries = []
    for key, models in trainings.items():
        curves = _curves([dict(epoch) for epoch in key])
        if curves:
            entries.append((models, curves))
    if not entries:
        return Markup("")
    return render("training.html", {"entries": entries, "area": _AREA, "most": _MAX_OPEN})


def _curves(history: Sequence[Epoch]) -> list[Curve]:
    names = [name for name in history[0] if name != "epoch"]
    return [
        _curve(name.replace("_", " "), [epoch[name] for epoch in history if name in epoch])
        for name in names
    ]


def _curve(name: str, values: Sequence[float]) -> Curve:
    up = linear_axis(values, _AREA.bottom, _AREA.top, room=0.05)
    across = (_AREA.right - _AREA.left) / max(len(values) - 1, 1)
    points = [(_AREA.left + index * across, up.at(value)) for index, value in enumerate(values)]
    return Curve(
        name,
        " ".join(f"{pixel(x)},{pixel(y)}" for x, y in points),
        points if len(points) <= _MAX_DOTS else [],
        up.ticks(4),
        significant(values[-1]),
        len(values),
    )
