"""What was measured counts for the processor and the runtimes with which it was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc.measure import machine
from bmc.recipes.measuring import measurement_key
from bmc.recipes.plan import Plan
from bmc.recipes.store import StepStore


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
