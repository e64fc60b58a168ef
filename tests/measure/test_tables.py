"""Scores for people: every class, what was missed, and of many classes the worst."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bmc.measure import scores, tables


def of(labels: list[int], predictions: list[int], classes: int) -> dict[str, Any]:
    logits = np.eye(classes, dtype=np.float32)[predictions]
    return scores.of_task("classification", logits, np.array(labels))


def text_of(table: Table | None) -> str:
    content = io.StringIO()
    Console(file=content, width=120).print(table)
    return content.getvalue()


BLIND = of([0, 0, 0, 1, 1], [0, 0, 0, 0, 0], 2)  # b is never answered


def test_a_class_that_is_never_predicted_is_said() -> None:
    assert tables.remarks(BLIND, ("a", "b")) == ["every row of class b was missed (2 of 2)"]


def test_a_class_without_rows_was_not_missed() -> None:
    assert tables.remarks(of([0, 0], [0, 0], 2), ("a", "b")) == []


def test_the_table_has_each_classs_scores_and_how_its_rows_were_answered() -> None:
    lines = [line.split() for line in text_of(tables.class_table(BLIND, ("a", "b"))).splitlines()]
    assert ["a", "0.600", "1.000", "0.750", "3", "3", "."] in lines
    assert ["b", "0.000", "0.000", "0.000", "2", "2", "."] in lines


def test_of_many_classes_the_worst_are_shown_and_what_they_are_taken_for() -> None:
    labels = [number % 30 for number in range(300)]
    predictions = [8 if label == 7 else label for label in labels]
    result, names = of(labels, predictions, 30), tuple(f"k{number}" for number in range(30))
    text = text_of(tables.class_table(result, names))
    assert "the 10 of 30 classes with the lowest F1" in text
    assert len(text.splitlines()) < 20
    assert tables.remarks(result, names) == [
        "every row of class k7 was missed (10 of 10)",
        "class k7 was predicted as k8: 10 of 10 rows",
    ]


def test_a_matrix_that_is_too_wide_is_left_out_and_its_worst_counts_are_said() -> None:
    names = ("a label that is rather long", "another label that is long")
    assert "->" not in text_of(tables.class_table(BLIND, names))
    assert tables.remarks(BLIND, names)[1] == (
        "class another label that is long was predicted as a label that is rather long: 2 of 2 rows"
    )


def test_when_most_classes_are_missed_a_few_are_named_and_the_others_counted() -> None:
    labels = list(range(12))
    message = tables.remarks(of(labels, [0] * 12, 12), tuple("abcdefghijkl"))
    assert message[0] == "every row of class b was missed (1 of 1)"
    assert message[5] == "classes missed altogether besides these: 6"


def test_one_line_has_accuracy_and_the_means_of_the_classes() -> None:
    assert tables.line(BLIND, "test").endswith(
        "precision 0.300, recall 0.500, F1 0.375 (means of the classes)"
    )
    assert tables.line(BLIND, "test").startswith("test accuracy 0.600 [")


def test_a_regressions_line_has_all_three_scores_and_a_generators_none() -> None:
    outputs = np.array([[1.0], [2.0], [4.0]], np.float32)
    result = scores.of_task("regression", outputs, np.array([1.0, 2.0, 3.0]))
    text = tables.line(result, "test")
    assert text.startswith("test R2 0.500 [")
    assert "MAE 0.333 [0, 1.00], MSE 0.333 [0, 1.00]" in text
    assert tables.class_table(result, ()) is None
    assert tables.line({}, "test") == ""


def test_a_long_label_of_several_lines_takes_one_short_line() -> None:
    assert "a label that has a very…" in text_of(
        tables.class_table(BLIND, ("a\nlabel that has a very long name", "b"))
    )
