"""The folder that measures bundles on another machine, and the result that is brought back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bmc import bundle as bundles
from bmc.errors import UsageError
from bmc.measure import results
from bmc.report.collect import newest_run
from bmc.workflows.options import Device
from tests.remote._parcels import with_other_golden_outputs

Command = Callable[..., tuple[int, str, str]]
FAST = ("--threads", "1", "--launches", "2", "--rounds", "2", "--length", "8")


def run_there(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a runner's folder from another working folder."""
    command = [sys.executable, *options, str(folder / "run.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)


@pytest.fixture(scope="module")
def carried(bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a runner's folder that has measured two bundles, one of them with wrong outputs."""
    from bmc.workflows import device_bench
    from bmc.workflows.options import Measurement

    folder = tmp_path_factory.mktemp("carried")
    wrong = with_other_golden_outputs(bundle_of("onnx"), folder / "wrong")
    measurement = Measurement((1,), length=8, launches=2, rounds=2)
    runner = folder / "runner"
    device_bench.make_runner([str(bundle_of("onnx")), str(wrong)], measurement, runner)
    request = json.loads((runner / "request.json").read_text())
    request["settings"]["most_launches"] = 0
    (runner / "request.json").write_text(json.dumps(request))
    done = run_there(runner)
    assert done.returncode == 0, done.stderr
    assert "not measured: wrong: wrong has other outputs on this device" in done.stdout
    return runner


def test_a_carried_folder_says_how_it_is_used_and_needs_no_bmc(carried: Path) -> None:
    readme = (carried / "README.md").read_text()
    for part in ("- onnx", "pip install numpy onnxruntime tokenizers", "python3 run.py", "--read"):
        assert part in readme
    done = run_there(carried, "-S")  # without site-packages
    assert done.returncode == 1
    assert "-m pip install numpy onnxruntime tokenizers" in done.stderr


def test_a_result_is_read_next_to_its_bundles(
    bmc: Command, carried: Path, bundle_of: Callable[[str], Path], workspace: Path
) -> None:
    good, wrong = bundle_of("onnx"), carried.parent / "wrong"
    code, out, err = bmc("bench", "--read", carried, good, wrong)
    assert code == 1  # a bundle has wrong outputs there, and the other one's times are kept
    assert "wrong on " in err
    assert "bmc bench --read" in err
    (saved,) = (workspace / ".bench").glob("*.json")
    run = results.read(saved)
    assert run.device
    assert [row.name for row in run.rows] == ["onnx"]
    assert run.checks["onnx"].rows > 0
    code, out, err = bmc("bench", "--read", saved, good, wrong)
    assert code == 1
    assert "not measured: wrong" in out
    assert "golden outputs of onnx" in out, "what the message says that this command shows"
    code, out, err = bmc("bench", "--read", saved, good, wrong, "--json")
    document = json.loads(out)
    assert document["device"] == run.device
    assert document["failed"][0]["check"] == "parity"
    assert document["rows"][0]["throughput"]["1"]["value"] > 0


def test_no_text_of_a_result_leads_out_of_the_workspace(
    bmc: Command, carried: Path, bundle_of: Callable[[str], Path], workspace: Path
) -> None:
    run = results.read(carried / "result.json")
    only = replace(run, failed=(), skipped={}, skipped_sha256={})
    hostile = carried.parent / "hostile.json"
    results.save(replace(only, started="../../elsewhere/20990101", device="../pi"), hostile)
    code, _, err = bmc("bench", "--read", hostile, bundle_of("onnx"))
    assert code == 0, err
    assert [path.name for path in (workspace / ".bench").iterdir()] == [
        "elsewhere-20990101-pi.json"
    ]


def test_a_devices_times_are_never_taken_for_this_machines(
    bmc: Command, carried: Path, bundle_of: Callable[[str], Path], workspace: Path
) -> None:
    run = results.read(carried / "result.json")
    only = replace(run, failed=(), skipped={}, skipped_sha256={})
    results.save(only, workspace / ".bench" / "20990101-000000.json")
    assert newest_run([bundle_of("onnx")], run.settings) is None
    local = replace(only, device="", checks={})
    results.save(local, workspace / ".bench" / "20980101-000000.json")
    found = newest_run([bundle_of("onnx")], run.settings)
    assert found is not None
    assert found.device == ""


def test_a_result_of_other_bundles_is_refused(
    bmc: Command, carried: Path, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    other = tmp_path / "onnx"
    shutil.copytree(bundle_of("onnx"), other)
    manifest = bundles.read(other).manifest
    bundles.write(other, replace(manifest, name="another"))
    code, _, err = bmc("bench", "--read", carried, other, carried.parent / "wrong")
    assert (code, "results of another onnx" in err) == (2, True)
    code, _, err = bmc("bench", "--read", carried, bundle_of("onnx"))
    assert (code, "results of 'wrong'" in err) == (2, True)
    code, _, err = bmc("bench", "--read", carried)  # neither is in the workspace
    assert (code, "no bundle named 'onnx'" in err) == (2, True)


def test_what_is_no_result_of_a_runner_is_refused(
    bmc: Command, carried: Path, tmp_path: Path
) -> None:
    code, _, err = bmc("bench", "--read", tmp_path)
    assert (code, "python run.py writes it" in err) == (2, True)
    changed = tmp_path / "result.json"
    content = json.loads((carried / "result.json").read_text())
    changed.write_text(json.dumps({**content, "device": "faster"}))
    code, _, err = bmc("bench", "--read", changed)
    assert (code, "changed after it was written" in err) == (2, True)
    here = replace(results.read(carried / "result.json"), device="")
    results.save(here, changed)
    code, _, err = bmc("bench", "--read", changed)
    assert (code, "not by a runner" in err) == (2, True)


def test_options_that_exclude_each_other_and_bundles_that_no_device_runs_are_refused(
    bmc: Command, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    code, _, err = bmc("bench", "--on", "pi@board", "--read", tmp_path)
    assert (code, "--on and --read exclude each other" in err) == (2, True)
    runner = ("--make-runner", tmp_path / "runner", *FAST)
    code, _, err = bmc("bench", bundle_of("pytorch"), *runner)
    assert (code, "runs in PyTorch" in err) == (2, True)
    copy = tmp_path / "onnx"
    shutil.copytree(bundle_of("onnx"), copy)
    code, _, err = bmc("bench", bundle_of("onnx"), copy, *runner)
    assert (code, "two bundles are named onnx" in err) == (2, True)
    code, _, err = bmc("bench", copy, *runner, "--save", tmp_path / "samples.json")
    assert (code, "writes result.json" in err) == (2, True)
    code, _, err = bmc("bench", copy, "--make-runner", copy)
    assert (code, "exists" in err) == (2, True)
    assert bmc("bench", "--on", "pi@board", "--batches", "0")[0] == 2


def test_a_python_without_the_machine_that_has_it_is_refused() -> None:
    assert Device(on="pi@board", python="venv/bin/python").python == "venv/bin/python"
    with pytest.raises(UsageError, match="add --on"):
        Device(python="venv/bin/python")


def test_bundles_that_no_device_runs_are_left_out_of_all_bundles_with_a_note(
    bmc: Command, bundle_of: Callable[[str], Path], workspace: Path
) -> None:
    for target in ("pytorch", "openvino"):
        workspace.mkdir(exist_ok=True)
        shutil.copytree(bundle_of(target), workspace / target)
    code, out, err = bmc("bench", "--make-runner", workspace / "runner", *FAST, "--json")
    assert code == 0
    assert json.loads(out)["bundles"] == ["openvino"]
    assert "pytorch is left out: it runs in PyTorch" in err
    shutil.rmtree(workspace / "openvino")
    code, _, err = bmc("bench", "--make-runner", workspace / "other")
    assert (code, "can be measured on a device" in err) == (2, True)


def test_a_runner_is_told_by_its_request(carried: Path) -> None:
    from bmc.remote import request

    asked = request.read(carried)
    assert asked.threads == (1,)
    assert asdict(asked)["settings"]["length"] == 8
