"""Gates: which texts are read, which are refused with the way out, and how bundles are judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bmc.errors import GateError, SettingError, UnknownError, UsageError
from bmc.report.distribution import distribution_of
from bmc.report.gates import METRICS, read_gates
from bmc.report.judging import judge, raise_failures
from bmc.report.line import Line
from bmc.report.lineage import Lineage
from bmc.report.pareto import front_of
from tests.report._lines import around, line, report, student_line, timed_line


def messages(*texts: str, of: Line) -> list[str]:
    """Return the messages of the gates that a line does not pass."""
    judged = judge(report(of), read_gates(texts))
    return [verdict.message for verdict in judged if not verdict.passed]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (
            "accuracy>=0.80 size<=5MB p50<=1ms max-drop<=1",
            {"accuracy": 0.8, "size": 5e6, "p50": 1.0, "max-drop": 1.0},
        ),
        ("accuracy >= 80 % , size <= 5 MiB", {"accuracy": 0.8, "size": 5 * 2**20}),
        ("p90<=200us;cold-start<=300ms", {"p90": 0.2, "cold-start": 0.3}),
        ("speed_up>=2x parameters<=5M R2>=-0.5", {"speed-up": 2.0, "parameters": 5e6, "r2": -0.5}),
        ("max-drop<=.5points", {"max-drop": 0.5}),
    ],
)
def test_gates_are_read_with_their_units(text: str, limits: dict[str, float]) -> None:
    assert {gate.metric: gate.limit for gate in read_gates([text])} == pytest.approx(limits)


@pytest.mark.parametrize("name", METRICS)
def test_the_example_of_each_figure_is_a_gate(name: str) -> None:
    (gate,) = read_gates([METRICS[name].example])
    assert gate.metric == name


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("accuracy=>0.8", "did you mean accuracy>=0.8?"),
        ("accuracy>0.8", "did you mean accuracy>=0.8?"),
        ("accuracy==0.8", "did you mean accuracy>=0.8?"),
        ("accuracy<=0.8", "names the smallest value; did you mean accuracy>=0.8?"),
        ("size>=5MB", "names the largest value; did you mean size<=5MB?"),
        ("accuracy>=80", "did you mean accuracy>=80%?"),
        ("size<=5", "5 has no unit; did you mean size<=5MB?"),
        ("size<=5mb", "did you mean size<=5MB?"),
        ("p50<=1min", "no unit 'min' of p50; possible: us, µs, ms, s"),
        ("latency<=1ms", "Did you mean 'p50'?"),
        ("acuracy>=0.8", "Did you mean 'accuracy'?"),
        ("accuracy>=0.8.1", "'0.8.1' is not a number"),
        ("accuracy>=0.8 size", "no unit 'size' of accuracy; possible: %"),
        ("accuracy>=high", "is not a gate; a gate looks like accuracy>=0.80"),
        ("", "names no gate"),
    ],
)
def test_a_text_that_is_not_a_gate_is_refused_with_the_near_one(text: str, way_out: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_gates([text])
    assert isinstance(caught.value, SettingError | UnknownError)
    assert way_out in str(caught.value)


def test_a_bundle_passes_with_its_value_and_fails_with_value_and_limit() -> None:
    fast = timed_line("fast-onnx", 0.5)
    text = "accuracy>=0.8 size<=5MB p50<=1ms memory<=60MB cold-start<=1s score>=85%"
    assert messages(text, of=fast) == []
    assert messages("accuracy>=0.95", of=fast) == [
        "fast-onnx: accuracy>=0.95 failed: accuracy is 0.900 [0.880, 0.920]"
    ]
    assert messages("size<=3MB", of=fast) == ["fast-onnx: size<=3MB failed: size is 4.00 MB"]
    nan = replace(fast, accuracy=around(float("nan")))
    assert len(messages("accuracy>=0.1", of=nan)) == 1


@pytest.mark.parametrize(
    ("gate", "command"),
    [
        ("p50<=1ms", "bmc bench slow-onnx"),
        ("p99<=1ms", "bmc bench slow-onnx"),
        ("memory<=1MB", "bmc bench slow-onnx"),
        ("speed-up>=2", "bmc bench slow-onnx"),
        ("r2>=0.5", "its score is not r2: gate accuracy>=0.80"),
        ("agreement>=0.9", "its model has no teacher"),
    ],
)
def test_what_was_not_measured_fails_with_the_command_that_measures_it(
    gate: str, command: str
) -> None:
    (message,) = messages(gate, of=line("slow-onnx"))
    assert f"slow-onnx: {gate} cannot be judged: " in message
    assert command in message


def test_without_a_score_the_way_out_is_an_export() -> None:
    unscored = line("slow-onnx", accuracy=None, macro_f1=None)
    (message,) = messages("accuracy>=0.5", of=unscored)
    assert "bmc export slow --target onnx --force" in message


def test_what_has_no_rows_to_score_is_told_to_leave_the_gate_out() -> None:
    (message,) = messages("accuracy>=0.5", of=line("file-onnx", accuracy=None, measure=""))
    assert message.endswith("keep no rows to score: leave the gate out")


def test_a_bundle_that_failed_its_export_passes_no_gate_though_it_is_named() -> None:
    moved = line("moved-onnx", failure="5 points lost")
    assert messages("accuracy>=0.5 size<=50MB", of=moved) == [
        "moved-onnx failed a check when it was exported: 5 points lost"
    ]


def test_the_score_of_an_engine_that_did_not_run_is_said_to_be_its_files() -> None:
    engine = line("bert-tensorrt", note="built, not run here")
    (accuracy, size) = judge(report(engine), read_gates(["accuracy>=0.5", "size<=50MB"]))
    assert accuracy.passed
    assert accuracy.message.endswith("the engine was built from; it was not run)")
    assert "engine" not in size.message


def test_a_p99_of_few_calls_is_not_judged() -> None:
    few = timed_line("few-onnx", 0.5, distribution=distribution_of([[[1000] * 99]]))
    message = messages("p99<=1ms", of=few)[0]
    assert "it needs 1,000 calls, and 99 were measured: take 11 times as many launches" in message
    many = replace(few, distribution=distribution_of([[[1000] * 1000]]))
    assert messages("p99<=1ms", of=many) == []


def test_a_drop_needs_a_bundle_of_the_teacher_and_an_original_has_none() -> None:
    teacher = line("teacher-onnx", lineage=Lineage(weights="t"))
    student = student_line("student-onnx", teacher, drop=0.4, kept=None)
    assert messages("max-drop<=1", of=student) == []
    assert "0.400 points" in messages("max-drop<=0.3", of=student)[0]
    assert messages("max-drop<=1", of=teacher) == []
    alone = replace(student, drop=None, teacher_bundle=None)
    assert "bmc export teacher --target onnx" in messages("max-drop<=1", of=alone)[0]


def test_the_floor_is_not_judged_and_failed_or_broken_bundles_fail_once() -> None:
    lines = (
        line("floor-onnx", accuracy=None, floor="one linear layer"),
        line("bad.failed", failed="5 points lost"),
        line("good-onnx"),
    )
    judged = judge(
        replace(report(*lines), broken={"hollow": "it is empty"}),
        read_gates(["accuracy>=0.8", "size<=5MB"]),
    )
    assert [(verdict.bundle, verdict.passed) for verdict in judged] == [
        ("bad.failed", False),
        ("good-onnx", True),
        ("good-onnx", True),
        ("hollow", False),
    ]


def test_the_error_has_the_first_failures_and_all_of_them_in_a_list() -> None:
    lines = [line(f"n{number}-onnx") for number in range(5)]
    judged = judge(report(*lines), read_gates(["size<=1MB", "accuracy>=0.5"]))
    with pytest.raises(GateError) as caught:
        raise_failures(judged, "the report")
    assert str(caught.value).startswith("5 of 10 checks of gates failed: n0-onnx: size<=1MB failed")
    assert str(caught.value).endswith("and 2 more")
    assert len(caught.value.failures) == 5
    assert caught.value.result == "the report"
    raise_failures(judge(report(*lines), ()), "the report")


def test_the_bundle_that_speed_ups_refer_to_passes_their_gate() -> None:
    reference = timed_line("teacher-onnx", 2.0)
    fast = timed_line("fast-onnx", 0.5, speed_up=around(4.0))
    verdicts = judge(report(reference, fast, reference="teacher-onnx"), read_gates(["speed-up>=2"]))
    assert [verdict.passed for verdict in verdicts] == [True, True]
    assert "it is what speed-ups refer to" in verdicts[0].message
    alone = judge(report(reference, reference="teacher-onnx"), read_gates(["speed-up>=2"]))
    assert [verdict.passed for verdict in alone] == [False]
    floor = timed_line("floor-onnx", 0.1, speed_up=around(20.0), floor="TF-IDF")
    failed = timed_line("bad-onnx", 0.1, speed_up=around(20.0), failure="too inaccurate")
    with_others = report(reference, floor, failed, reference="teacher-onnx")
    passed = {each.bundle: each.passed for each in judge(with_others, read_gates(["speed-up>=2"]))}
    assert passed == {"teacher-onnx": False, "bad-onnx": False}, "nothing sound was compared"


def test_a_limit_on_parameters_fails_where_the_manifest_does_not_say_them() -> None:
    (message,) = messages("parameters<=1M", of=line("x-onnx", parameters=None))
    assert "its manifest does not say it" in message
    assert messages("parameters<=1M", of=line("trees-onnx", parameters=0)) == []


def test_a_bundle_that_failed_a_check_is_on_no_front() -> None:
    sound, failed = timed_line("sound-onnx", 2.0), timed_line("bad-onnx", 0.5, failure="slower")
    assert front_of([sound, failed], "latency") == ["sound-onnx"]
