"""Benches of other devices in a report: columns of their own, and ratios within a device alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bmc import bundle as bundles
from bmc.files import sha256
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.measure.statistics import speed_up
from bmc.rendering.reports import compared
from bmc.report import devices, table
from bmc.report.collect import collect
from bmc.report.device import Device, DeviceTimes
from bmc.report.line import Report
from tests.report._lines import around, timed_line
from tests.report._lines import report as written
from tests.report._runs import timed

PI, JETSON = "pi@board", "nano@jetson"


@pytest.fixture
def folders(bundle_of: Callable[[str], Path]) -> list[Path]:
    """Return the bundles of one model in two runtimes."""
    return [bundle_of("onnx"), bundle_of("openvino")]


def there(folders: list[Path], device: str, started: str, microseconds: dict[str, float]) -> Run:
    """Return a bench of a device, as if it was measured there."""
    run = timed(Path(), microseconds)
    hashes = {folder.name: sha256(folder / bundles.MANIFEST) for folder in folders}
    rows = tuple(replace(row, manifest_sha256=hashes[row.name]) for row in run.rows)
    return replace(run, device=device, started=started, rows=rows)


def reported(folders: list[Path], runs: list[Run]) -> Report:
    """Return a report without times of this machine."""
    hashes = {folder.name: sha256(folder / bundles.MANIFEST) for folder in folders}
    return devices.with_devices(collect(None, folders=folders), runs, hashes)


def test_each_device_has_its_columns_and_its_own_ratios(folders: list[Path]) -> None:
    pi = there(folders, PI, "20260101-000000", {"onnx": 400, "openvino": 800})
    jetson = there(folders, JETSON, "20260101-000000", {"openvino": 50, "onnx": 200})
    report = reported(folders, [jetson, pi])
    assert devices.columns(report) == [
        f"{device}: {title}" for device in (JETSON, PI) for title in ("p50 ms", "times faster")
    ]
    for device, run in zip(report.devices, (jetson, pi), strict=True):
        (reference,) = device.references.values()
        other = {"onnx": "openvino", "openvino": "onnx"}[reference]
        names = [row.name for row in run.rows]
        slower, faster = (run.samples[names.index(name)] for name in (reference, other))
        ratio = speed_up(slower.nanoseconds, faster.nanoseconds)
        assert device.times[other].speed_up == ratio
        assert device.times[reference].speed_up is None
    text = table.markdown(report)
    assert f"{PI}: p50 ms" in text
    assert f"{PI}: a processor, 2 cores, measured in turn there in 4 launches" in text
    assert [len(each.columns) for each in table.on_devices(report)] == [3, 3]


def test_a_bundle_that_was_not_measured_there_has_empty_cells_and_its_reason(
    folders: list[Path],
) -> None:
    run = there(folders, PI, "20260101-000000", {"onnx": 400})
    digest = sha256(folders[1] / bundles.MANIFEST)
    run = replace(run, skipped={"openvino": "no openvino"}, skipped_sha256={"openvino": digest})
    report = reported(folders, [run])
    by_name = {line.name: devices.cells(report, line) for line in report.lines}
    assert by_name["onnx"][1] == ""  # nothing to compare with there
    assert by_name["openvino"] == ["not run", ""]
    assert f"openvino was not run on {PI}: no openvino" in list(devices.notes(report))


def test_a_terminal_shows_names_and_figures_whole_whatever_the_number_of_devices() -> None:
    names = "bert-movie-reviews-openvino", "tiny-movie-reviews-openvino"
    times = DeviceTimes(1, around(2.5), around(3.5), around(20.0), 0.9, 60.0, None)
    machine = {"processor": "", "cores": 4}
    boards = tuple(
        Device(name, "", machine, {}, 5, {}, {names[1]: times}, {names[0]: "it has no runtime"})
        for name in ("pi@raspberrypi", "nano@jetson", "someone@orange-pi")
    )
    lines = [timed_line(name, 9.0, speed_up=around(9.0)) for name in names]
    console = Console(width=120, file=StringIO())
    with console.capture() as captured:
        console.print(*compared(replace(written(*lines), devices=boards)).shown[:4])
    shown = captured.get()
    assert "…" not in shown
    for text in (*names, *(board.name for board in boards), "not run", "20.0 [20.0, 20.0]"):
        assert text in shown


def test_a_figure_with_a_wide_interval_is_marked() -> None:
    times = DeviceTimes(1, around(2.0, 1.0), None, around(20.0, 10.0), 0.9, 60.0, None)
    board = Device(PI, "", {}, {}, 5, {}, {"a-onnx": times})
    cells = devices.cells_on(board, timed_line("a-onnx", 1.0))
    assert cells == ["2.00 ?", "20.0 [10.0, 30.0] ?"]


def test_times_of_a_bundle_that_was_exported_again_are_left_out(folders: list[Path]) -> None:
    run = there(folders, PI, "20260101-000000", {"onnx": 400, "openvino": 800})
    stale = replace(run, rows=(replace(run.rows[0], manifest_sha256="0" * 64), run.rows[1]))
    report = reported(folders, [stale])
    assert set(report.devices[0].times) == {"openvino"}


def test_the_bench_with_most_of_the_bundles_is_taken_of_each_device(
    folders: list[Path], workspace: Path
) -> None:
    both = there(folders, PI, "20260101-000000", {"onnx": 400, "openvino": 800})
    one = there(folders, PI, "20260202-000000", {"onnx": 300})
    other = there(folders, JETSON, "20260101-000000", {"onnx": 100})
    here = replace(both, device="", started="20260303-000000")
    longer = replace(both, started="20260404-000000", settings=BenchSettings(length=64))
    for number, run in enumerate((both, one, other, here, longer)):
        results.save(run, workspace / ".bench" / f"{run.started}-{number}.json")
    (workspace / ".bench" / "damaged.json").write_text("{}")
    runs = devices.device_runs(folders)
    assert [(run.device, run.started) for run in runs] == [
        (JETSON, other.started),
        (PI, both.started),
    ]
