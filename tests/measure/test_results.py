"""Bench results: the better thread count, the reference, and a file that reads back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bmc import bundle as bundles
from bmc.errors import ArtifactError, MeasuringError, MissingError, SettingError, UsageError
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.targets import load
from bmc.workflows.bench import bench
from bmc.workflows.options import Measurement

SHORT = BenchSettings(launches=2, rounds=2, length=8, turn_seconds=0.01, turn_calls=6, batches=(3,))


@pytest.fixture(scope="module")
def run(bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a short run over two bundles, one and two threads, beside a GPU's."""
    engine = tmp_path_factory.mktemp("bench") / "engine"
    shutil.copytree(bundle_of("onnx"), engine)
    bundles.write(engine, replace(bundles.read(engine).manifest, target="tensorrt"))
    folders = [bundle_of("onnx"), bundle_of("openvino"), engine]
    return results.measure_bundles(folders, (1, 2), SHORT)


def test_each_bundle_is_measured_with_each_thread_count(run: Run) -> None:
    rows = [(row.name, row.threads) for row in run.rows if row.name != "engine"]
    assert rows == [("onnx", 1), ("onnx", 2), ("openvino", 1), ("openvino", 2)]
    assert all(row.samples == 0 or row.samples >= 24 for row in run.rows)
    assert all(len(row.manifest_sha256) == 64 for row in run.rows)


def test_each_batch_size_has_its_turns_and_its_throughput(run: Run) -> None:
    for row, sample in zip(run.rows, run.samples, strict=True):
        turns = [[len(turn) >= 6 for turn in launch] for launch in sample.batch_nanoseconds["3"]]
        assert turns == [[True, True], [True, True]]
        assert set(row.throughput) == {"1", "3"}
        for rate in row.throughput.values():
            assert 0 < rate.low <= rate.value <= rate.high


def test_what_cannot_run_here_is_skipped_with_its_reason(run: Run) -> None:
    try:
        devices = load("tensorrt").available().devices
    except MissingError:
        devices = ()
    if devices:
        pytest.skip("there is a GPU")
    assert set(run.skipped) == {"engine"}
    assert run.skipped["engine"]


def test_one_row_of_each_bundle_is_its_best_and_the_first_is_the_reference(run: Run) -> None:
    for name in ("onnx", "openvino"):
        entry = [row for row in run.rows if row.name == name]
        (best,) = [row for row in entry if row.best]
        assert best.p50 is not None
        assert all(row.p50 is None or best.p50.value <= row.p50.value for row in entry)
        assert all((row.speed_up is None) == (name == "onnx" and row.best) for row in entry)


def test_a_ratio_is_the_speed_up_of_the_better_rows(run: Run) -> None:
    (best,) = [row for row in run.rows if row.name == "openvino" and row.best]
    assert results.ratio(run, "onnx", "openvino") == best.speed_up
    assert results.ratio(run, "onnx", "onnx").value == pytest.approx(1)


def test_a_run_is_read_back_as_saved_with_all_samples(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.json"
    results.save(run, path)
    assert results.read(path) == run


def test_what_is_no_run_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    results.save(run, path)
    whole = json.loads(path.read_text())
    hostile: list[Any] = [[], {}, None, {**whole, "rows": 3}, {**whole, "samples": [{}]}]
    hostile += [{**whole, "settings": {"launches": 0}}, {**whole, "rows": [{"name": "x"}]}]
    first, *others = whole["rows"]
    hostile += [{**whole, "rows": [{**first, "execution": {}}, *others]}]
    hostile += [{**whole, "failed": ["x"]}, {**whole, "machine": {**whole["machine"], "x": 1e999}}]
    sample, *left = whole["samples"]
    long = [[[10**400, *turn] for turn in launch] for launch in sample["nanoseconds"]]
    hostile += [{**whole, "samples": [{**sample, "nanoseconds": long}, *left]}]
    for content in hostile:
        # Whoever makes a file makes its sum, too: each is to be refused for what it holds.
        unsummed = {**content, "sha256": None} if isinstance(content, dict) else content
        path.write_text(json.dumps(unsummed))
        with pytest.raises(ArtifactError, match="not a bench result"):
            results.read(path)
    path.write_bytes(b"\xff\x00")
    with pytest.raises(ArtifactError, match="not a bench result"):
        results.read(path)
    with pytest.raises(ArtifactError, match="not a bench result"):
        results.read(tmp_path / "gone.json")


def test_bundles_of_one_name_are_told_apart_by_their_paths(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = tmp_path / "onnx"
    shutil.copytree(bundle_of("onnx"), copy)
    result = results.measure_bundles([bundle_of("onnx"), copy, copy], (1,), SHORT)
    assert [row.name for row in result.rows] == [str(bundle_of("onnx")), str(copy)]
    assert all(row.best for row in result.rows)


def test_a_bench_without_a_bundle_that_can_run_here_is_an_error(
    bundle_of: Callable[[str], Path], tmp_path: Path, workspace: Path
) -> None:
    engine = tmp_path / "engine"
    shutil.copytree(bundle_of("onnx"), engine)
    bundles.write(engine, replace(bundles.read(engine).manifest, target="tensorrt"))
    with pytest.raises(MissingError, match=r"no bundle can be measured here \(engine: "):
        bench([str(engine)], Measurement((1,), launches=2, rounds=2))


def test_a_precision_that_there_is_not_is_refused_before_measuring(
    bundle_of: Callable[[str], Path],
) -> None:
    with pytest.raises(SettingError, match="precision is 'int4'"):
        results.measure_bundles([bundle_of("openvino")], (1,), SHORT, "int4")


def test_a_bundle_that_is_made_anew_while_it_is_measured_has_no_times(
    bundle_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(bundle_of("onnx"), tmp_path / "bundle"))

    def made_anew(*arguments: Any) -> list[Any]:
        manifest = bundles.read(folder).manifest
        bundles.write(folder, replace(manifest, build={**manifest.build, "max_batch": 4}))
        return []

    monkeypatch.setattr(results, "measure", made_anew)
    with pytest.raises(MeasuringError, match="was made anew while it was measured"):
        results.measure_bundles([folder], (1,), SHORT)


def test_a_second_run_of_the_same_second_keeps_its_own_file(run: Run, tmp_path: Path) -> None:
    first, second = (results.save_new(run, tmp_path) for _ in range(2))
    assert first != second
    assert results.read(first) == results.read(second)


def test_no_module_of_the_working_folder_is_imported_by_a_measurement(
    bundle_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "statistics.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    assert results.measure_bundles([bundle_of("onnx")], (1,), SHORT).rows


def test_a_batch_that_a_bundle_does_not_take_is_refused_before_anything_runs(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle_of("onnx"), tmp_path / "bundle"))
    manifest = bundles.read(folder).manifest
    bundles.write(folder, replace(manifest, build={**manifest.build, "max_batch": 4}))
    with pytest.raises(UsageError, match="takes at most 4 rows a call, and --batch or"):
        bench([str(folder)], Measurement(batch=8))
