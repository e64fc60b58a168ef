"""Format the scores of a model for people: a line, a table of the classes, and remarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from bmc.measure import rejection, scores
from bmc.measure.custom import custom_scores
from bmc.measure.scores import Interval
from bmc.measure.shown import significant, with_interval

_MAX_CLASSES = 10
_MAX_REMARKS = 5
_MAX_LABEL = 24  # characters of a label in the table
_MAX_LABEL_IN_LINE = 60
_MAX_LABELS = 30  # characters of all labels; the matrix then fits into 100 columns
_CLASSIFIER = (("macro_precision", "precision"), ("macro_recall", "recall"), ("macro_f1", "F1"))
_LABELS = (
    *(("macro_f1", "macro F1"), ("macro_precision", "precision"), ("macro_recall", "recall")),
    *(("exact_match", "all labels right"), ("mean_average_precision", "mean average precision")),
)
_VECTORS = (
    ("spearman", "Spearman of similarities"),
    ("spearman_of_labels", "Spearman with the labels"),
    ("knn_accuracy", "nearest-neighbor accuracy"),
    ("reference_knn_accuracy", "the reference's"),
)
_SPANS = (
    *(("span_f1", "span F1"), ("span_precision", "precision"), ("span_recall", "recall")),
    ("word_accuracy", "accuracy of words"),
)
_REGRESSION = (("r2", "R2"), ("mae", "MAE"), ("mse", "MSE"))


def line(scored: Mapping[str, Any], split: str) -> str:
    """Return the scores of a task in one line; "" for a generator.

    Args:
        scored: scores from `scores.of_task`.
        split: name of the rows that were scored, such as "test".
    """
    extra = "".join(
        f", {name} {with_interval(interval)}" for name, interval in custom_scores(scored).items()
    )
    if "accuracy" in scored:
        means = ", ".join(f"{name} {significant(_value(scored[key]))}" for key, name in _CLASSIFIER)
        accuracy = _interval(scored["accuracy"])
        return (
            f"{split} accuracy {accuracy}, {means} (means of the classes){_rejected(scored)}{extra}"
        )
    if "micro_f1" in scored:
        parts = [f"micro F1 {_interval(scored['micro_f1'])}"]
        parts += [f"{name} {significant(_value(scored[key]))}" for key, name in _LABELS]
        return f"{split} {', '.join(parts)}{extra}"
    if "recall_at_10" in scored:
        figures = [f"recall@10 {_interval(scored['recall_at_10'])}"]
        figures += [f"{name} {_interval(scored[key])}" for key, name in _VECTORS if key in scored]
        return f"{split} {', '.join(figures)} ({_compared(scored)}){extra}"
    if "span_f1" in scored:
        spans = ", ".join(f"{name} {_interval(scored[key])}" for key, name in _SPANS)
        return f"{split} {spans}{extra}"
    if "r2" in scored:
        numbers = ", ".join(f"{name} {_interval(scored[key])}" for key, name in _REGRESSION)
        return f"{split} {numbers}{extra}"
    return ""


def _rejected(scored: Mapping[str, Any]) -> str:
    """Return the share of rows that get no label, and the accuracy of the others."""
    if rejection.SHARE not in scored:
        return ""
    share = f", no label for {_interval(scored[rejection.SHARE])} of the rows"
    if rejection.ACCURACY not in scored:
        return share
    return f"{share}, accuracy of the others {_interval(scored[rejection.ACCURACY])}"


def class_table(scored: Mapping[str, Any], labels: Sequence[str]) -> Table | None:
    """Return a table of precision, recall and F1 by class, with the confusion matrix.

    Of more than ten classes, the table has the ten with the lowest F1. A matrix that is too wide
    for a terminal is left out.

    Args:
        scored: scores from `scores.of_task`.
        labels: names of the classes.

    Returns:
        the table; None where there are no classes.
    """
    if not has_classes(scored):
        return None
    classes = class_rows(scored, labels)
    with_matrix = "confusion" in scored and has_matrix(labels)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("type" if "by_type" in scored else "class", overflow="fold")
    predicted = [f"-> {_short(label)}" for label in labels] if with_matrix else []
    for column in ("precision", "recall", "F1", unit_of(scored), *predicted):
        table.add_column(column, justify="right", no_wrap=True)
    if len(classes) > _MAX_CLASSES:
        table.title = f"the {_MAX_CLASSES} of {len(classes)} classes with the lowest F1"
        classes = sorted(classes, key=lambda row: row[3])[:_MAX_CLASSES]
    for label, *ratios, rows, counts in classes:
        figures = [f"{ratio:.3f}" for ratio in ratios]
        cells = [str(count or ".") for count in counts] if with_matrix else []
        table.add_row(_short(label), *figures, str(rows), *cells)
    if with_matrix:
        table.caption = "-> counts the rows of a class by their predicted class"
    return table


def has_classes(scored: Mapping[str, Any]) -> bool:
    """Tell whether scores are also of each class, or of each type of spans."""
    return "by_class" in scored or "by_type" in scored


def unit_of(scored: Mapping[str, Any]) -> str:
    """Return what the scores of a class count: "rows", or "spans" of a type."""
    return "spans" if "by_type" in scored else "rows"


def has_matrix(labels: Sequence[str]) -> bool:
    """Tell whether a terminal has room for the confusion matrix."""
    characters = sum(len(_short(label)) for label in labels)
    return len(labels) <= _MAX_CLASSES and characters <= _MAX_LABELS


def class_rows(
    scored: Mapping[str, Any], labels: Sequence[str]
) -> list[tuple[str, float, float, float, int, list[int]]]:
    """Return each class's label, precision, recall, F1, rows, and its row of the matrix.

    Rows with several labels, and spans, have no matrix: its row is empty.
    """
    if "by_type" in scored:
        return [
            (kind, *(of_type[key] for key in ("precision", "recall", "f1", "spans")), [])
            for kind, of_type in scored["by_type"].items()
        ]
    by_class = scored["by_class"]
    rows = scores.rows_of_classes(scored)
    matrix = scored.get("confusion") or [[] for _ in labels]
    ratios = zip(by_class["precision"], by_class["recall"], by_class["f1"], strict=True)
    return [
        (label, precision, recall, f1, count, list(counts))
        for label, (precision, recall, f1), count, counts in zip(
            labels, ratios, rows, matrix, strict=True
        )
    ]


def remarks(scored: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Return sentences about missed classes and, without a matrix, the most frequent errors."""
    if not {"confusion", "confusions"} & scored.keys():
        return []
    names = [_short(label, _MAX_LABEL_IN_LINE) for label in labels]
    missed = scores.missed_classes(scored)
    sentences = [
        f"every row of class {names[index]} was missed ({count} of {count})"
        for index, count in missed[:_MAX_REMARKS]
    ]
    if len(missed) > _MAX_REMARKS:
        sentences.append(f"classes missed altogether besides these: {len(missed) - _MAX_REMARKS}")
    if not has_matrix(labels):
        errors = scores.worst_confusions(scored, _MAX_REMARKS)
        sentences += [
            f"class {names[true]} was predicted as {names[predicted]}: {count} of {rows} rows"
            for true, predicted, count, rows in errors
        ]
    return sentences


def _compared(scored: Mapping[str, Any]) -> str:
    """Say among how many texts the reference's neighbors were sought."""
    return (
        f"the reference's neighbors of {scored['queries']:,} among {scored['sentences']:,} texts, "
        f"similarities of {scored['pairs']:,} pairs"
    )


def _interval(entry: Mapping[str, float]) -> str:
    return with_interval(Interval(**entry))


def _value(entry: Any) -> float:
    return float(entry["value"] if isinstance(entry, Mapping) else entry)


def _short(label: str, max_length: int = _MAX_LABEL) -> str:
    """Return a label on one line, truncated to a number of characters."""
    flat = " ".join(label.split())
    return flat if len(flat) <= max_length else f"{flat[: max_length - 1].rstrip()}…"
