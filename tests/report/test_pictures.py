"""What the pictures of a report stand on: axes, labels, Pareto fronts, distributions, trees."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from bmc.report.axes import linear_axis, log_axis, pixel
from bmc.report.disagreements import disagreements_of
from bmc.report.distribution import distribution_of
from bmc.report.family_tree import family_tree
from bmc.report.labels import Box, place
from bmc.report.lineage import Lineage
from bmc.report.pareto import front, front_of, fronts
from tests.report._lines import line, timed_line

AREA = Box(40, 10, 350, 240)


@pytest.mark.parametrize("values", [[0.17, 11.2], [17.4], [0.03, 900.0], [5e-6, 4e3]])
def test_a_logarithmic_axis_holds_its_values_and_has_two_ticks_or_more(values: list[float]) -> None:
    axis = log_axis(values, 40, 350)
    assert all(40 <= axis.at(value) <= 350 for value in values)
    ticks = axis.ticks(6)
    assert 2 <= len(ticks) <= 6
    assert all(40 <= x <= 350 for x, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


@pytest.mark.parametrize("values", [[82.8, 83.5], [0.0], [-3.0, 4.0], [90.0, 90.0]])
def test_a_linear_axis_runs_either_way(values: list[float]) -> None:
    axis = linear_axis(values, 240, 10)
    assert all(10 < axis.at(value) < 240 for value in values)
    assert 2 <= len(axis.ticks(6)) <= 7


def test_coordinates_are_short() -> None:
    assert [pixel(value) for value in (12.0, 12.345, 100.0, 0.04)] == ["12", "12.3", "100", "0"]


def test_labels_overlap_neither_each_other_nor_points() -> None:
    random.seed(0)
    points = [(random.uniform(50, 340), random.uniform(20, 230)) for _ in range(60)]
    labels = place(points, [str(number) for number in range(60)], AREA)
    assert labels is not None
    pairs = itertools.combinations([label.box for label in labels], 2)
    assert not any(first.overlaps(second) for first, second in pairs)
    for x, y in points:
        assert not any(label.box.overlaps(Box(x - 3, y - 3, x + 3, y + 3)) for label in labels)


def test_names_without_room_are_not_placed() -> None:
    points = [(100.0 + number, 100.0) for number in range(12)]
    assert place(points, ["a-rather-long-name-of-a-bundle"] * 12, AREA) is None


def test_a_front_holds_what_nothing_beats() -> None:
    points = [("slow", 9.0, 0.84), ("fast", 1.0, 0.83), ("bad", 2.0, 0.80), ("twin", 1.0, 0.83)]
    assert front(points) == ["fast", "twin", "slow"]
    lines = [
        timed_line("fast-onnx", 1.0, model_bytes=9_000_000),
        timed_line("slow-onnx", 9.0, model_bytes=1_000_000),
        line("unmeasured-onnx", model_bytes=2_000_000),
    ]
    assert front_of(lines, "latency") == ["fast-onnx"]
    assert fronts(lines) == {
        "fast-onnx": ["latency", "memory"],
        "slow-onnx": ["size", "memory"],
    }


def test_a_distribution_counts_every_call_and_keeps_the_slowest() -> None:
    calls = [1_000_000 + 1000 * number for number in range(1999)] + [90_000_000]
    found = distribution_of([[calls[:1000]], [calls[1000:]]])
    assert sum(found.counts) == found.calls == 2000
    assert found.slowest == 90.0
    assert found.high < 10, "one slow call does not widen the bins"
    assert found.p99 == pytest.approx(2.98, abs=0.01)
    equal = distribution_of([[[1000] * 20]])
    assert equal.p99 is None
    assert sum(equal.counts) == 20


def test_disagreements_are_counted_and_the_most_certain_error_comes_first() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0])
    teacher = np.array([[9, 0], [9, 0], [0, 2], [0, 9], [3, 0], [0, 1]], np.float32)
    student = np.array([[9, 0], [0, 8], [1, 0], [0, 9], [0, 2], [0, 1]], np.float32)
    found = disagreements_of(student, teacher, labels, ("no", "yes"), "teacher-onnx")
    counts = (found.both_right, found.only_student, found.only_teacher, found.both_wrong)
    assert counts == (2, 1, 2, 1)
    assert found.different == 3
    assert [row.row for row in found.rows] == [1, 2, 4]
    first = found.rows[0]
    assert (first.label, first.student, first.teacher) == ("no", "yes", "no")
    assert first.student_score == pytest.approx(1 / (1 + np.exp(-8)), abs=1e-4)


def test_logits_that_are_infinite_have_no_certainty() -> None:
    logits = np.array([[np.inf, np.inf], [1.0, 0.0]], np.float32)
    found = disagreements_of(logits, logits[::-1].copy(), np.array([1, 1]), ("a", "b"), "t")
    assert all(0 <= row.student_score <= 1 for row in found.rows)


def test_models_stand_below_what_they_were_made_from() -> None:
    teacher = Lineage(weights="t")
    student = Lineage(weights="s", teacher="bert", teacher_weights="t", steps=("distill/logits",))
    int8 = Lineage(
        weights="q",
        made_from="tiny",
        made_from_weights="s",
        teacher="bert",
        teacher_weights="t",
        steps=("distill/logits", "quantize/static"),
    )
    lines = [
        line("bert-onnx", lineage=teacher, model="bert"),
        line("tiny-onnx", lineage=student, model="tiny"),
        line("tiny-openvino", lineage=student, model="tiny"),
        line("int8-onnx", lineage=int8, model="int8"),
    ]
    nodes = {node.name: node for node in family_tree(lines)}
    assert [nodes[name].depth for name in ("bert", "tiny", "int8")] == [0, 1, 2]
    assert len(nodes["tiny"].lines) == 2
    assert nodes["int8"].steps == ("quantize/static",)
    without = {node.name: node for node in family_tree([lines[3]])}
    assert [without[name].depth for name in ("bert", "tiny", "int8")] == [0, 1, 2]
    assert without["tiny"].lines == []


def test_models_that_are_recorded_as_made_from_each_other_are_drawn_all_the_same() -> None:
    lines = [
        line("a", lineage=Lineage(weights="a", made_from="b", made_from_weights="b")),
        line("b", lineage=Lineage(weights="b", made_from="a", made_from_weights="a")),
        line("c", lineage=Lineage(weights="c", made_from="c", made_from_weights="c")),
    ]
    nodes = family_tree(lines)
    assert len(nodes) == 3
    assert len({(node.depth, node.row) for node in nodes}) == 3
