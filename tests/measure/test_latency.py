"""Measuring in turn: real bundles, real processes; what is measured, never how fast it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bmc import bundle as bundles
from bmc.errors import BmcError, MissingError, SettingError
from bmc.measure.latency import BenchSettings, Candidate, Measured, measure
from bmc.measure.worker import peak_memory_mb

SHORT = BenchSettings(launches=2, rounds=2, length=8, turn_seconds=0.01)


@pytest.fixture(scope="module")
def measured(bundle_of: Callable[[str], Path]) -> list[Measured]:
    """Return what a short run found of two targets."""
    candidates = [Candidate(bundle_of("onnx"), 1), Candidate(bundle_of("openvino"), 2)]
    return measure(candidates, SHORT)


def test_every_candidate_has_its_turns_in_every_launch(measured: list[Measured]) -> None:
    for item in measured:
        assert [len(launch) for launch in item.nanoseconds] == [2, 2]
        turns = [turn for launch in item.nanoseconds for turn in launch]
        assert all(len(turn) >= SHORT.turn_calls for turn in turns)
        assert all(nanoseconds > 0 for turn in turns for nanoseconds in turn)


@pytest.mark.parametrize(("drop_slower", "count"), [(0.0, 2), (1.0, 1), (1e6, 2)])
def test_thread_counts_slower_than_a_factor_are_measured_in_the_first_launch_alone(
    bundle_of: Callable[[str], Path], drop_slower: float, count: int
) -> None:
    candidates = [Candidate(bundle_of("onnx"), threads) for threads in (1, 2)]
    measured = measure(candidates, replace(SHORT, drop_slower=drop_slower))
    assert len(measured) == count
    assert all([len(launch) for launch in each.nanoseconds] == [2, 2] for each in measured)


def test_cold_start_and_memory_are_those_of_fresh_processes(measured: list[Measured]) -> None:
    for item in measured:
        assert len(item.cold_start_seconds) == len(item.load_seconds) == len(item.peak_mb) == 2
        for cold, load in zip(item.cold_start_seconds, item.load_seconds, strict=True):
            assert cold > load > 0
        assert all(10 < peak < 1000 for peak in item.peak_mb)


def test_what_it_really_ran_with_is_recorded(measured: list[Measured]) -> None:
    onnx, openvino = (item.execution for item in measured)
    assert onnx == {"device": "CPU", "threads": 1, "precision": "fp32"}
    assert openvino["threads"] in (1, 2)  # as many as there are cores
    assert openvino["precision"] == "f32"


def test_no_process_is_left_behind(measured: list[Measured]) -> None:
    names = [str(item.candidate.bundle) for item in measured]
    children = psutil.Process(os.getpid()).children(recursive=True)
    left = [" ".join(child.cmdline()) for child in children if child.status() != "zombie"]
    assert not [line for line in left if any(name in line for name in names)]


def test_inputs_have_exactly_the_shape_asked_for_and_no_padding(
    bundle_of: Callable[[str], Path],
) -> None:
    bundle = bundles.read(bundle_of("onnx"))
    inputs = bundle.encoder.sized(bundle.golden()[0], rows=3, length=50)
    assert {name: array.shape for name, array in inputs.items()} == {
        "input_ids": (3, 50),
        "attention_mask": (3, 50),
    }
    assert (inputs["attention_mask"] == 1).all()
    assert all(array.dtype == np.int64 for array in inputs.values())


def test_peak_memory_is_at_least_what_is_held_now() -> None:
    assert peak_memory_mb() >= 0.9 * psutil.Process().memory_info().rss / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_peak_memory_is_in_millions_of_bytes_as_sizes_are() -> None:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert peak_memory_mb() == pytest.approx(int(kibibytes) * 1024 / 1e6, rel=0.01)


def test_a_bundle_that_cannot_be_loaded_is_named(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle_of("onnx"), broken)
    (broken / "model.onnx").write_bytes(b"")
    with pytest.raises(BmcError, match=r"broken: 'model\.onnx' was changed"):
        measure([Candidate(broken, 1)], SHORT)


def test_a_length_that_the_model_cannot_read_is_an_error_and_no_hang(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    boastful = tmp_path / "boastful"
    shutil.copytree(bundle_of("onnx"), boastful)
    manifest = bundles.read(boastful).manifest
    more = {**manifest.preprocessing, "max_length": 8000}
    bundles.write(boastful, replace(manifest, preprocessing=more))
    with pytest.raises(BmcError, match="cannot compute these inputs"):
        measure([Candidate(boastful, 1)], replace(SHORT, length=4000))


def test_a_process_that_gives_no_answer_in_time_is_stopped_and_named(
    bundle_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmc.measure.latency.LIMIT_SECONDS", 0.01)  # a start takes longer
    bundle = bundle_of("onnx")
    with pytest.raises(BmcError, match=rf"{bundle.name} did not respond within 0.01 seconds"):
        measure([Candidate(bundle, 1)], SHORT)
    failed: dict[Path, str] = {}
    assert measure([Candidate(bundle, 1)], SHORT, failed=failed) == []
    assert "was stopped" in failed[bundle]


def test_an_engine_without_a_gpu_says_so(bundle_of: Callable[[str], Path], tmp_path: Path) -> None:
    from bmc import targets

    try:
        if targets.load("tensorrt").available().devices:
            pytest.skip("there is a GPU")
    except MissingError:
        pass  # no TensorRT here is the same kind of answer
    engine = tmp_path / "engine"
    shutil.copytree(bundle_of("onnx"), engine)
    bundles.write(engine, replace(bundles.read(engine).manifest, target="tensorrt"))
    with pytest.raises(MissingError):
        measure([Candidate(engine, 1)], SHORT)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch": 0},
        {"length": 0},
        {"launches": 1},
        {"rounds": 1},
        {"turn_seconds": -1.0},
        {"turn_seconds": float("nan")},
        {"turn_calls": 0},
        {"batches": (0,)},
        {"batches": (8, 8)},
        {"batch": 4, "batches": (4,)},
        {"drop_slower": 0.9},
        {"drop_slower": float("inf")},
    ],
)
def test_settings_that_measure_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        BenchSettings(**settings)


_BENCH = """
import os, signal, sys
from pathlib import Path
from bmc.measure.latency import BenchSettings, Candidate, measure
settings = BenchSettings(launches=2, rounds=2000, length=8, turn_seconds=0.01)
measure([Candidate(Path(sys.argv[1]), 1), Candidate(Path(sys.argv[1]), 2)], settings)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_bench_that_is_killed_leaves_no_stopped_worker_behind(
    bundle_of: Callable[[str], Path],
) -> None:
    bench = subprocess.Popen([sys.executable, "-c", _BENCH, str(bundle_of("onnx"))])
    parent = psutil.Process(bench.pid)
    workers: list[psutil.Process] = []
    while len(workers) < 2 and bench.poll() is None:
        workers = parent.children()
        time.sleep(0.05)
    time.sleep(1)  # both have said hello, so one of them is stopped
    bench.kill()
    bench.wait()
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert all(item.status() == psutil.STATUS_ZOMBIE for item in alive)
    assert len(workers) == 2
