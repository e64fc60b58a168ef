"""The first sentence of a report."""

from __future__ import annotations

from dataclasses import replace

from bmc.report.answer import answer, answers
from bmc.report.lineage import Lineage
from tests.report._lines import around, line, report, student_line, timed_line

TEACHER = timed_line(
    "bert-onnx",
    8.0,
    lineage=Lineage(weights="t"),
    model="bert",
    accuracy=around(0.90),
    model_bytes=90_000_000,
)


def test_the_fastest_bundle_that_keeps_the_score_is_named_with_what_it_keeps() -> None:
    tiny = student_line("tiny-onnx", TEACHER, speed_up=around(12.0), accuracy=around(0.89))
    worse = student_line("bad-onnx", TEACHER, speed_up=around(50.0), accuracy=around(0.6))
    found = report(TEACHER, tiny, worse, reference="bert-onnx")
    assert answer(found) == (
        "tiny-onnx answers 12.0 times faster than bert-onnx, its teacher, at 99.0 % of its "
        "teacher's score (89.0 % accuracy), in a file of 4.00 MB, 22.5 times smaller."
    )
    alone = answer(report(TEACHER, worse, reference="bert-onnx"))
    assert alone.startswith("bad-onnx answers 50.0 times faster"), "where all lose, the fastest"


def test_the_ratio_in_one_runtime_comes_before_the_ratio_over_another_runtime() -> None:
    times = {"speed_up": around(40.0), "speed_up_same_target": around(18.0)}
    other = {"teacher_bundle": "bert-engine", "same_target": "bert-onnx"}
    tiny = student_line("tiny-onnx", TEACHER, **times, **other)
    slow = timed_line("bert-pytorch", 14.0)
    said = answer(report(slow, TEACHER, tiny, reference="bert-pytorch"))
    assert said.startswith(
        "tiny-onnx answers 18.0 times faster than bert-onnx, its teacher, and 40.0 times faster "
        "than bert-pytorch, at 99.0 % of its teacher's score"
    )
    origin = {"origin": "bert-onnx", "speed_up_origin": around(3.0), "speed_up": around(7.0)}
    pruned = timed_line("pruned-onnx", 2.7, **origin)
    said = answer(report(slow, TEACHER, pruned, reference="bert-pytorch"))
    assert said.startswith(
        "pruned-onnx answers 3.00 times faster than bert-onnx, and 7.00 times faster than bert-pyt"
    )


def test_a_slower_bundle_is_not_called_faster() -> None:
    slow = timed_line("slow-onnx", 16.0, speed_up=around(0.5))
    said = answer(report(TEACHER, slow, reference="bert-onnx"))
    assert "answers no faster than bert-onnx (0.500 times as fast)" in said


def test_without_latencies_sizes_are_compared_and_the_command_is_named() -> None:
    small = line("small-onnx", model_bytes=1_000_000)
    large = line("large-onnx", model_bytes=8_000_000)
    said = answer(report(large, small))
    assert said.startswith("small-onnx is 8.00 times smaller than large-onnx: 1.00 MB, at 90.0 %")
    assert "bmc report without --no-bench measures it" in said


def test_one_bundle_is_described_and_none_is_said() -> None:
    assert "there is nothing to compare it with" in answer(report(timed_line("only-onnx", 0.5)))
    assert "no bundle could be read" in answer(replace(report(TEACHER), lines=()))
    assert "No bundle of digits passed" in answer(report(line("bad", failed="lost 5 points")))


def test_each_data_set_has_a_sentence_and_the_largest_speed_up_comes_first() -> None:
    images = line("cnn-onnx", data="images", accuracy=None)
    fast = timed_line("fast-onnx", 0.5, speed_up=around(16.0))
    found = answers(replace(report(images, TEACHER, fast), references={"digits": "bert-onnx"}))
    assert list(found) == ["digits", "images"]
    assert "with no score" in found["images"]
