"""What was measured counts for the processor and the runtimes with which it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bmc.measure import machine
from bmc.recipes.measuring import measure, measurement_key
from bmc.recipes.plan import Plan, Step
from bmc.recipes.store import StepStore
from bmc.workflows.options import Measurement, Output, Reporting


def test_latencies_are_measured_anew_with_another_runtime_or_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    store = StepStore(str(tmp_path / "steps"))

    def keys() -> tuple[str, str]:
        plan = Plan("small", (), bench=("small-onnx",))
        both = [measurement_key(plan, store, [tmp_path], timed) for timed in (True, False)]
        return both[0], both[1]

    timed, untimed = keys()
    assert keys() == (timed, untimed)
    monkeypatch.setattr(machine, "runtime_versions", lambda: {"onnxruntime": "0.0"})
    assert keys()[0] != timed
    assert keys()[1] == untimed
    monkeypatch.undo()
    described = {**machine.describe(), "processor": "another"}
    monkeypatch.setattr(machine, "describe", lambda: described)
    assert keys()[0] != timed


def test_gates_that_compare_bundles_are_judged_anew_where_another_bundle_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "home"))
    (tmp_path / "manifest.json").write_text("{}")
    store = StepStore(str(tmp_path / "steps"))

    def key(*gates: str) -> str:
        return measurement_key(Plan("small", (), gates=gates), store, [tmp_path], False)

    def of_report(gate: str) -> str:
        plan = Plan("small", (), report={"gate": [gate]})
        return measurement_key(plan, store, [tmp_path], False)

    relative, alone, in_report = (
        key("size<=5MB max-drop<=1"),
        key("size<=5MB"),
        of_report("kept>=1"),
    )
    other = tmp_path / "home" / "big-onnx"
    other.mkdir(parents=True)
    (other / "manifest.json").write_text("{}")
    assert key("size<=5MB max-drop<=1") != relative
    assert of_report("kept>=1") != in_report
    assert key("size<=5MB") == alone


def test_a_recipe_is_measured_once_with_the_threads_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "home"))
    bundle = tmp_path / "small-onnx"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{}")
    step = Step("small-onnx", "export", {}, {"target": "onnx", "model": "small"})
    measured: list[tuple[int, ...]] = []

    def report(
        names: Sequence[str], reporting: Reporting, files: Output, measurement: Measurement
    ) -> None:
        measured.append(measurement.threads)

    monkeypatch.setattr("bmc.workflows.report.report", report)
    plan = Plan(
        "small", (step,), bench=(step.name,), measurement={"threads": [4]}, gates=("p50<=1ms",)
    )
    result = measure(plan, StepStore(str(tmp_path / "steps")), {step.name: bundle})
    assert measured == [(4,)]
    assert result.bench is None
