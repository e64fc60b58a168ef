"""Small tables of names and values, as text for a terminal and as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bmc.console import printable
from bmc.measure.custom import custom_scores
from bmc.measure.scores import Interval
from bmc.measure.shown import SCORES, significant, with_interval


def as_text(title: str, rows: Mapping[str, str]) -> str:
    """Return a title and a line for each row."""
    width = max(map(len, rows), default=0)
    lines = [f"  {name:<{width}}  {printable(value)}" for name, value in rows.items()]
    return "\n".join([printable(title), *lines])


def as_html(title: str, rows: Mapping[str, str]) -> str:
    """Return the same as an HTML table; values are shown as they are, never obeyed."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(printable(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table><caption>{escape(printable(title))}</caption>{cells}</table>"


def measured(scores: Mapping[str, Any]) -> str:
    """Return scores in one line, each with its 95 % interval if it has one."""
    own = custom_scores(scores)
    parts = [f"{name} {with_interval(interval)}" for name, interval in own.items()]
    for key, name in SCORES.items():
        score = scores.get(key)
        if isinstance(score, Mapping):
            parts.append(f"{name} {with_interval(Interval(**score))}")
    if parts:
        return ", ".join(parts)
    numbers = {key: value for key, value in scores.items() if isinstance(value, int | float)}
    numbers.pop("best_epoch", None)
    return ", ".join(f"{key.replace('_', ' ')} {significant(v)}" for key, v in numbers.items())
