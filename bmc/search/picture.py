"""The picture of a search: every trial, with what it loses against what it costs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import altair
import vl_convert
from optuna.trial import FrozenTrial

from bmc.console import printable
from bmc.search.budgets import Limits, Measured
from bmc.search.study import SHOWN
from bmc.search.trials import best_of
from bmc.writing import write_atomically

FILE = "trials.svg"
_SIDE = 330
_KINDS = ("on the front", "within the budgets", "beyond a budget", "the model itself")
_COLORS = ["#54a24b", "#4c78a8", "#bab0ac", "#e45756"]


def write(
    folder: Path,
    trials: Sequence[FrozenTrial],
    base: Measured,
    limits: Limits,
    front: Collection[str],
) -> Path:
    """Draw all trials against latency and size, as one SVG file that refers to nothing outside.

    Args:
        folder: folder of the search.
        trials: trials that were measured.
        base: what the uncompressed model takes.
        limits: the budgets, which are drawn as lines.
        front: the candidates of the front, in words.
    """
    points = [_point(trial, limits, front) for trial in trials]
    points.append(_values("the model itself", base, _KINDS[3]))
    panels = [
        _panel(points, "latency", "latency, ms (p50, log scale)", limits.milliseconds, limits.drop),
        _panel(
            points,
            "size",
            "model file, MB (log scale)",
            None if limits.bytes is None else limits.bytes / 1e6,
            limits.drop,
        ),
    ]
    chart = altair.hconcat(*panels).configure_view(stroke=None).configure_axis(grid=True)
    drawn: str = vl_convert.vegalite_to_svg(chart.to_json())
    path = folder / FILE
    write_atomically(path, drawn.encode())
    return path


def _point(trial: FrozenTrial, limits: Limits, front: Collection[str]) -> dict[str, Any]:
    words, measured = str(trial.user_attrs.get(SHOWN)), best_of(trial)
    kind = _KINDS[0] if words in front else _KINDS[2 if limits.excess(measured) else 1]
    return _values(words, measured, kind)


def _values(words: str, measured: Measured, kind: str) -> dict[str, Any]:
    return {
        "candidate": printable(words),
        "latency": measured.milliseconds,
        "size": measured.bytes / 1e6,
        "drop": measured.drop,
        "kind": kind,
    }


def _panel(
    points: list[dict[str, Any]],
    column: str,
    title: str,
    limit: float | None,
    drop: float | None,
) -> Any:
    color = altair.Color(
        "kind:N", title=None, sort=_KINDS, scale=altair.Scale(domain=_KINDS, range=_COLORS)
    )
    marks = (
        altair.Chart(altair.InlineData(values=points))
        .mark_point(filled=True, size=70, opacity=0.8)
        .encode(
            x=altair.X(f"{column}:Q", title=title, scale=altair.Scale(type="log", padding=15)),
            y=altair.Y("drop:Q", title="points of the validation score lost"),
            color=color,
            tooltip=["candidate:N", "drop:Q", "latency:Q", "size:Q"],
        )
    )
    layers = [marks]
    for name, value in ((column, limit), ("drop", drop)):
        if value is not None:
            line = altair.Chart(altair.InlineData(values=[{name: value}]))
            rule = line.mark_rule(strokeDash=[4, 3])
            layers.append(rule.encode(**{"y" if name == "drop" else "x": f"{name}:Q"}))
    return altair.layer(*layers).properties(width=_SIDE, height=_SIDE * 3 // 4)
