"""A small model to compress, and latencies that are measured in the test's own process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bmc import bundle as bundles
from bmc.measure.latency import BenchSettings
from bmc.pipeline import Pipeline
from bmc.recipes.plan import Step
from bmc.recipes.running import run_step
from bmc.search import timing
from bmc.targets import RuntimeOptions

BASE = {
    "model": "mlp",
    "data": "digits",
    "epochs": 16,
    "width": 64,
    "learning_rate": 0.005,
    "precision": "fp32",
}


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a perceptron that knows digits."""
    return run_step(Step("base", "train", {}, BASE), {}, tmp_path_factory.mktemp("search") / "base")


@pytest.fixture(autouse=True)
def _time_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time bundles in this process: fresh processes take seconds, and no test asks how long."""
    monkeypatch.setattr(timing, "milliseconds", _milliseconds)


def _milliseconds(
    folders: Sequence[Path], threads: Sequence[int], settings: BenchSettings
) -> dict[Path, float]:
    return {folder: _call(folder) for folder in folders}


def _call(folder: Path) -> float:
    bundle = bundles.read(folder)
    seconds = []
    with Pipeline(bundle, RuntimeOptions(threads=1)) as pipeline:
        inputs, _ = bundle.golden()
        for _ in range(9):
            started = time.perf_counter()
            pipeline.session.run(inputs)
            seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
