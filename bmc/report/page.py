"""A report as one HTML page that opens offline."""

from __future__ import annotations

from importlib.resources import files

import jinja2
from markupsafe import Markup

from bmc.report import chart, text
from bmc.report.collect import Report


def html(report: Report) -> str:
    """Return the page: picture, table and notes, with nothing loaded from outside."""
    template = files("bmc.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    fastest = [line for line in report.lines if line.speed_up and line.accuracy]
    best = max(fastest, key=lambda line: line.speed_up.value if line.speed_up else 0, default=None)
    return environment.from_string(template).render(
        report=report,
        best=best,
        columns=text.COLUMNS,
        groups=[
            (data, [(line, text.cells(line)) for line in lines])
            for data, lines in report.by_data().items()
        ],
        notes=text.notes(report),
        picture=Markup(chart.svg(report)),
    )
