"""Scores of each class, and confusion matrices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bmc.measure import scores, tables
from bmc.report.line import Line, Report
from bmc.report.templates import render

_MAX_CLASSES = 100  # with more classes, the largest confusions are listed instead of the matrix
_MAX_CELLS = 24_000  # cells of all matrices of a page, which then take about a megabyte
_CONFUSIONS = 50
_PARTS = ("by_class", "by_type", "confusion", "confusions")
_ROWS = 200  # classes of a table; of more, those with the lowest F1


@dataclass(frozen=True)
class ClassRow:
    """A class.

    Args:
        label: name of the class.
        precision: precision, 0 to 1.
        recall: recall, 0 to 1.
        f1: harmonic mean of both.
        rows: number of held-out rows of the class.
        counts: each predicted class's number of rows, its share of the rows (0 to 1), and whether
            it is the true class; empty without a matrix.
    """

    label: str
    precision: float
    recall: float
    f1: float
    rows: int
    counts: list[tuple[int, float, bool]]


@dataclass(frozen=True)
class ClassScores:
    """The scores by class of bundles that predict the same.

    Args:
        names: names of the bundles.
        summary: their scores in one line.
        remarks: classes without a correct prediction.
        rows: the classes.
        labels: names of the predicted classes; empty without a matrix.
        unit: what the scores of a class count: "rows" or "spans".
        confusions: without a matrix, the most frequent confusions: class, prediction, rows, and
            rows of the class.
        left_out: number of classes that the table does not have.
    """

    names: list[str]
    summary: str
    remarks: list[str]
    rows: list[ClassRow]
    labels: Sequence[str]
    unit: str
    confusions: list[tuple[str, str, int, int]]
    left_out: int


def section(report: Report) -> Markup:
    """Return the scores by class of all bundles; "" where no task has classes."""
    groups: dict[str, list[Line]] = {}
    for line in report.lines:
        if tables.has_classes(line.scores):
            parts = [line.scores.get(name) for name in _PARTS]
            key = json.dumps([line.data, line.labels, *parts], sort_keys=True)
            groups.setdefault(key, []).append(line)
    if not groups:
        return Markup("")
    room = _MAX_CELLS
    entries = []
    for lines in groups.values():
        classes = len(lines[0].labels)
        has_matrix = "confusion" in lines[0].scores and classes <= _MAX_CLASSES
        has_matrix = has_matrix and classes**2 <= room
        room -= classes**2 if has_matrix else 0
        entries.append(_entry(lines, has_matrix))
    return render("classes.html", {"entries": entries})


def _entry(lines: Sequence[Line], has_matrix: bool) -> ClassScores:
    line = lines[0]
    rows = [
        ClassRow(label, precision, recall, f1, count, _counts(counts, at) if has_matrix else [])
        for at, (label, precision, recall, f1, count, counts) in enumerate(
            tables.class_rows(line.scores, line.labels)
        )
    ]
    left_out = max(len(rows) - _ROWS, 0)
    if left_out:
        rows = sorted(rows, key=lambda row: row.f1)[:_ROWS]
    lists_errors = not has_matrix and {"confusion", "confusions"} & line.scores.keys()
    return ClassScores(
        [each.name for each in lines],
        tables.line(line.scores, "held-out"),
        tables.remarks(line.scores, line.labels),
        rows,
        line.labels if has_matrix else (),
        tables.unit_of(line.scores),
        [
            (line.labels[true], line.labels[prediction], count, of_class)
            for true, prediction, count, of_class in (
                scores.worst_confusions(line.scores, _CONFUSIONS) if lists_errors else []
            )
        ],
        left_out,
    )


def _counts(counts: Sequence[int], true: int) -> list[tuple[int, float, bool]]:
    total = max(sum(counts), 1)
    return [(count, count / total, at == true) for at, count in enumerate(counts)]
