"""Scores of a model for people: one line, a table of its classes, and what must be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from bmc.measure import scores
from bmc.measure.custom import custom_scores
from bmc.measure.scores import Interval
from bmc.measure.shown import significant, with_interval

_FEW_CLASSES = 10
_MOST_SAID = 5
_LONGEST_LABEL = 24
_IN_A_LINE = 60
_ROOM = 30  # characters of all labels together that leave the matrix within 100 columns
_CLASSIFIER = (("macro_precision", "precision"), ("macro_recall", "recall"), ("macro_f1", "F1"))
_REGRESSION = (("r2", "R2"), ("mae", "MAE"), ("mse", "MSE"))


def line(found: Mapping[str, Any], what: str) -> str:
    """Write the scores of a task in one line; nothing for a generator.

    Args:
        found: what `scores.of_task` returned.
        what: which rows they are of, such as "test".
    """
    own = "".join(
        f", {name} {with_interval(interval)}" for name, interval in custom_scores(found).items()
    )
    if "accuracy" in found:
        means = ", ".join(f"{name} {significant(_value(found[key]))}" for key, name in _CLASSIFIER)
        return (
            f"{what} accuracy {_interval(found['accuracy'])}, {means} (means of the classes){own}"
        )
    if "r2" in found:
        shown = ", ".join(f"{name} {_interval(found[key])}" for key, name in _REGRESSION)
        return f"{what} {shown}{own}"
    return ""


def class_table(found: Mapping[str, Any], labels: Sequence[str]) -> Table | None:
    """Return precision, recall and F1 by class, with the confusion matrix beside it.

    Of more than ten classes the ten of the lowest F1 are shown; a matrix that is too wide for a
    terminal is left out. None where there are no classes.
    """
    if "confusion" not in found:
        return None
    classes = class_rows(found, labels)
    few = len(classes) <= _FEW_CLASSES
    beside = has_matrix(labels)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("class", overflow="fold")
    answered = [f"-> {_short(label)}" for label in labels] if beside else []
    for column in ("precision", "recall", "F1", "rows", *answered):
        table.add_column(column, justify="right", no_wrap=True)
    if not few:
        table.title = f"the {_FEW_CLASSES} of {len(classes)} classes with the lowest F1"
        classes = sorted(classes, key=lambda one: one[3])[:_FEW_CLASSES]
    for label, *ratios, rows, counts in classes:
        shown = [f"{ratio:.3f}" for ratio in ratios]
        cells = [str(count or ".") for count in counts] if beside else []
        table.add_row(_short(label), *shown, str(rows), *cells)
    if beside:
        table.caption = "-> counts the rows of a class by how they were answered"
    return table


def has_matrix(labels: Sequence[str]) -> bool:
    """Tell whether a terminal has room for the confusion matrix."""
    return len(labels) <= _FEW_CLASSES and sum(len(_short(one)) for one in labels) <= _ROOM


def class_rows(
    found: Mapping[str, Any], labels: Sequence[str]
) -> list[tuple[str, float, float, float, int, list[int]]]:
    """Return each class's label, precision, recall, F1, rows, and its row of the matrix."""
    by_class = found["by_class"]
    ratios = zip(by_class["precision"], by_class["recall"], by_class["f1"], strict=True)
    return [
        (label, precision, recall, f1, sum(counts), list(counts))
        for label, (precision, recall, f1), counts in zip(
            labels, ratios, found["confusion"], strict=True
        )
    ]


def remarks(found: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Say which classes were missed altogether and, without a matrix, what is confused most."""
    if "confusion" not in found:
        return []
    names = [_short(label, _IN_A_LINE) for label in labels]
    missed = scores.missed_classes(found["confusion"])
    said = [
        f"every row of class {names[place]} was missed ({count} of {count})"
        for place, count in missed[:_MOST_SAID]
    ]
    if len(missed) > _MOST_SAID:
        said.append(f"classes missed altogether besides these: {len(missed) - _MOST_SAID}")
    if not has_matrix(labels):
        said += [
            f"class {names[true]} was answered as {names[answer]}: {count} of {rows} rows"
            for true, answer, count, rows in scores.worst_confusions(found["confusion"], _MOST_SAID)
        ]
    return said


def _interval(entry: Mapping[str, float]) -> str:
    return with_interval(Interval(**entry))


def _value(entry: Any) -> float:
    return float(entry["value"] if isinstance(entry, Mapping) else entry)


def _short(label: str, longest: int = _LONGEST_LABEL) -> str:
    """Return a label that leaves room for others, on one line."""
    flat = " ".join(label.split())
    return flat if len(flat) <= longest else f"{flat[: longest - 1].rstrip()}…"
