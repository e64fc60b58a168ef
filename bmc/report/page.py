"""Write a report as one HTML page that opens offline."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import jinja2
from markupsafe import Markup

from bmc import curves
from bmc.console import printable
from bmc.measure import scores, tables
from bmc.measure.shown import significant, with_interval
from bmc.report import chart, table
from bmc.report.line import Line, Report

_MOST_CLASSES = 100  # a page has the confusion matrix of at most so many classes
_CONFUSIONS = 50


@dataclass(frozen=True)
class ClassScores:
    """A bundle's scores by class, as the page shows them.

    Args:
        line: the bundle.
        summary: scores of the bundle in one line.
        remarks: classes without a correct prediction.
        rows: for each class its label, precision, recall, F1, number of rows, and predictions.
        matrix: whether the page shows the confusion matrix.
        unit: what the scores of a class count: "rows" or "spans".
        confusions: for many classes, the most frequent confusions.
    """

    line: Line
    summary: str
    remarks: list[str]
    rows: list[tuple[str, float, float, float, int, list[int]]]
    matrix: bool
    unit: str
    confusions: list[tuple[str, str, int, int]]


def html(report: Report) -> str:
    """Return the page: picture, tables and notes, with nothing loaded from outside."""
    template = files("bmc.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"significant": significant, "with_interval": with_interval}
    fastest = [line for line in report.lines if line.speed_up and line.accuracy and not line.floor]
    best = max(fastest, key=lambda line: line.speed_up.value if line.speed_up else 0, default=None)
    page = environment.from_string(template).render(
        report=report,
        best=best,
        columns=table.COLUMNS,
        groups=[
            (data, [(line, table.cells(line)) for line in lines])
            for data, lines in report.by_data().items()
        ],
        trainings=_trainings(report),
        classes=[_classes(line) for line in report.lines if tables.has_classes(line.scores)],
        notes=table.notes(report),
        picture=Markup(chart.svg(report)),
    )
    return "\n".join(printable(line) for line in page.splitlines()) + "\n"


def _trainings(report: Report) -> list[tuple[str, Markup]]:
    """Return the learning curves of each training, with the models that come from it."""
    names: dict[str, list[str]] = {}
    for line in report.lines:
        drawn = curves.svg(line.history)
        if drawn and line.model not in names.setdefault(drawn, []):
            names[drawn].append(line.model)
    return [(", ".join(models), Markup(drawn)) for drawn, models in names.items()]


def _classes(line: Line) -> ClassScores:
    confusion = line.scores.get("confusion", [])
    matrix = bool(confusion) and len(line.labels) <= _MOST_CLASSES
    worst = scores.worst_confusions(confusion, _CONFUSIONS) if confusion and not matrix else []
    return ClassScores(
        line,
        tables.line(line.scores, "held-out"),
        tables.remarks(line.scores, line.labels),
        tables.class_rows(line.scores, line.labels),
        matrix,
        tables.unit_of(line.scores),
        [
            (line.labels[true], line.labels[prediction], count, rows)
            for true, prediction, count, rows in worst
        ],
    )
