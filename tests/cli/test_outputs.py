"""What is written stays whole: outputs that exist, a full disk, Ctrl-C, and what is missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bmc import disk
from tests.cli._refusals import BMC, Blocked, Run, contents, refused, room_for_files_of

# Outputs


def test_an_output_that_exists_is_refused_before_any_work_and_stays(
    bmc: Run, model_folder: Path, hf_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(model_folder, tmp_path / "old"))
    before = contents(output)
    data = ("--data", reviews_csv)
    for command in (
        ("train", hf_folder, *data),
        ("distill", "--teacher", model_folder, *data),
        ("export", model_folder, "--target", "onnx"),
    ):
        refused(bmc(*command, "--output", output), str(output), "--force")
    assert contents(output) == before
    assert os.listdir(tmp_path) == ["old"]


def test_force_replaces_an_output_whole(
    bmc: Run, model_folder: Path, hf_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(model_folder, tmp_path / "old"))
    (output / "left-over").touch()
    before = contents(output)
    options = ("--epochs", "1", "--max-length", "16", "--output", output, "--force")
    code, _, err = bmc("train", hf_folder, "--data", reviews_csv, *options)
    assert code == 0, err
    after = contents(output)
    assert "left-over" not in after
    assert after["model.safetensors"] != before["model.safetensors"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".old")]


def test_force_never_replaces_what_bmc_did_not_write(
    bmc: Run, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        output = ("--output", tmp_path / name, "--force")
        refused(bmc("export", model_folder, "--target", "onnx", *output), "was not written by bmc")
    refused(
        bmc("export", model_folder, "--target", "onnx", "-o", tmp_path / "file" / "deep"),
        "file is not a folder",
    )
    assert sorted(os.listdir(tmp_path)) == ["file", "thesis"]
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "years of work"


# A full disk, an interruption, something missing


def test_a_full_disk_in_export_leaves_the_old_bundle(
    bmc: Run, model_folder: Path, made_bundle: Path
) -> None:
    before = contents(made_bundle)
    with room_for_files_of(500_000):
        result = bmc("export", model_folder, "--target", "onnx", "-o", made_bundle, "--force")
    refused(result, "disk is full", str(made_bundle), "--output")
    assert contents(made_bundle) == before
    assert os.listdir(made_bundle.parent) == ["bundle"]


def test_a_full_disk_in_training_leaves_the_old_model_and_no_half_checkpoint(
    bmc: Run, model_folder: Path, hf_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(model_folder, tmp_path / "old"))
    before = contents(output)
    options = ("--epochs", "1", "--max-length", "16", "--output", output, "--force")
    with room_for_files_of(500_000):
        result = bmc("train", hf_folder, "--data", reviews_csv, *options)
    refused(result, "disk is full", ".checkpoints", "free some space")
    assert contents(output) == before
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert sorted(os.listdir(tmp_path)) in ([".checkpoints", "old"], ["old"])


def test_a_disk_without_space_is_named(
    bmc: Run, model_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tiny-disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root; RLIMIT_FSIZE is tested above")
    try:
        result = bmc("export", model_folder, "--target", "onnx", "-o", path / "bundle")
        refused(result, "disk is full", str(path / "bundle"), "(0 MB free there)")
        assert os.listdir(path) == []
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(
    bmc: Run, hf_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    """The second command runs here, and is stopped at its first checkpoint."""
    output = tmp_path / "trained"
    words = ["train", str(hf_folder), "--data", str(reviews_csv), "--output", str(output)]
    words += ["--max-length", "16", "--epochs", "100000", "--checkpoint-every", "1"]
    process = subprocess.Popen(
        [*BMC, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore SIGINT, and so do their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if list(tmp_path.rglob("checkpoint.safetensors")):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    line = refused((process.returncode, out, err), "stopped", code=130)
    assert "same command goes on from the last checkpoint" in line
    assert not output.exists()
    assert not list(tmp_path.rglob("*.tmp"))

    def stop(operation: str, path: Path) -> None:
        if "checkpoint.safetensors" in path.name:
            raise KeyboardInterrupt

    disk.watch(stop)
    try:
        code, _, err = bmc(*words)
    finally:
        disk.unwatch(stop)
    assert code == 130
    assert "training resumes from epoch" in " ".join(err.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_exit_3(
    bmc: Run, hf_folder: Path, reviews_csv: Path, workspace: Path
) -> None:
    result = bmc("train", hf_folder, "--data", reviews_csv, "--device", "cuda")
    refused(result, "no CUDA device", "--device cpu", code=3)
    assert not list(workspace.rglob("*.*"))


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["predict", "OPENVINO", "what a film"], "openvino", "openvino"),
        (["predict", "ONNX", "what a film"], "onnxruntime", "onnx"),
        (["check", "OPENVINO"], "openvino", "openvino"),
        (["train"], "torch", "train"),
        (["distill"], "transformers", "train"),
        (["export", "--target", "onnx"], "torch", "train"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_missing_package_is_exit_3_with_the_line_that_installs_it(
    blocked: Blocked,
    bundle_of: Callable[[str], Path],
    workspace: Path,
    arguments: list[str],
    package: str,
    extra: str,
) -> None:
    names = {"OPENVINO": "openvino", "ONNX": "onnx"}
    words = [str(bundle_of(names[word])) if word in names else word for word in arguments]
    done = blocked(f"from bmc.cli import main; main({words!r})", package)
    line = refused((done.returncode, done.stdout, done.stderr), package, code=3)
    assert f"pip install 'bmc-toolkit[{extra}]'" in line
    assert not workspace.exists()


def test_an_export_to_a_target_that_is_not_installed_stops_before_any_work(
    blocked: Blocked, model_folder: Path, workspace: Path
) -> None:
    words = ["export", str(model_folder), "--target", "openvino"]
    done = blocked(f"from bmc.cli import main; main({words!r})", "openvino")
    line = refused((done.returncode, done.stdout, done.stderr), code=3)
    assert "pip install 'bmc-toolkit[openvino]'" in line
    assert not workspace.exists()


def test_json_leaves_stdout_empty_when_a_command_is_refused(bmc: Run) -> None:
    refused(bmc("predict", "gone", "text", "--json"), "gone")


def test_a_workspace_that_is_a_file_is_refused(
    bmc: Run, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "file"))
    refused(bmc("export", model_folder, "--target", "onnx"), "file is not a folder")
    refused(bmc("predict"), "no bundle")
