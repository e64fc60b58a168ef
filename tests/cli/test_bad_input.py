"""Bad input: one line on stderr, the exit code that is documented, and nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from bmc import files

Run = Callable[..., tuple[int, str, str]]
Blocked = Callable[..., CompletedProcess[str]]


BMC = (sys.executable, "-c", "from bmc.cli import main; main()")


def refused(result: tuple[int, str, str], *words: str, code: int = 2) -> str:
    """Check that a command was refused in one line that holds these words; return the line."""
    found, out, err = result
    lines = err.splitlines()
    assert found == code, err
    assert out == ""
    assert lines, "nothing on stderr"
    assert lines[-1].startswith("bmc: "), err
    assert not any(line.startswith("bmc: ") for line in lines[:-1]), err
    assert "Traceback" not in err
    assert "bug in bmc" not in err, err
    for word in words:
        assert word in lines[-1], lines[-1]
    return lines[-1]


def contents(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder."""
    return files.sha256_of_folder(folder, leave_out="") if folder.exists() else {}


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a table."""

    def write(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def made_bundle(bundle_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """Return a bundle that a test may damage."""
    return Path(shutil.copytree(bundle_of("onnx"), tmp_path / "bundle"))


@pytest.fixture
def made_model(model_folder: Path, tmp_path: Path) -> Path:
    """Return a model directory that a test may damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@contextlib.contextmanager
def room_for_files_of(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the kernel then refuses writes as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Unknown names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "brt"], ["no model named 'brt'", "'bert'", "bmc models"]),
        (["train", "./gone/model"], ["no model named './gone/model'"]),
        (["train", "--data", "movie-review"], ["no data set named", "'movie-reviews'"]),
        (["train", "--data", "gone.csv"], ["no data file 'gone.csv'"]),
        (["train", "--data", "sheet.xlsx"], ["sheet.xlsx", ".csv"]),
        (["train", "--data", "digits"], ["'digits' holds image", "--data", "bmc models"]),
        (["train", "cnn", "--data", "tests"], ["is a folder", "imagefolder:tests"]),
        (["distill", "--student", "tinny"], ["no student named 'tinny'", "'tiny'"]),
        (["export", "--target", "onx"], ["no target named 'onx'", "'onnx'"]),
        (["export", "--target", ""], ["--target", "onnx, openvino"]),
        (["export", "--target", "dialects"], ["no target named", "onnx, openvino, pytorch"]),
        (["quantize", "--method", "int8"], ["no quantize method named", "static", "--help"]),
        (["distill", "--teacher", "brt"], ["'brt'", "did you mean 'bert'", "mpnet"]),
        (["train", ""], ["no model named ''"]),
        (["share", "gone"], ["no model named 'gone'"]),
        (["share"], ["no model", "bmc train"]),
        (["report"], ["no bundle", "bmc export"]),
        (["export", "--target", "onnx,gpu"], ["no target named 'gpu'", "tensorrt"]),
        (["export", "gone", "--target", "onnx"], ["no model named 'gone'"]),
        (["export", "--target", "onnx"], ["no model", "bmc train"]),
        (["predict"], ["no bundle", "bmc export"]),
        (["predict", "gone", "text"], ["no bundle named 'gone'"]),
        (["predict", "hi there"], ["no bundle named", "bmc predict BUNDLE ROW"]),
        (["check"], ["no bundle", "bmc export"]),
        (["check", "gone"], ["no bundle named 'gone'"]),
        (["bench"], ["no bundle", "bmc export"]),
        (["bench", "gone"], ["no bundle named 'gone'"]),
        (["datasets", "gone"], ["no data set named 'gone'"]),
        (["trian"], ["trian"]),
        (["train", "--epoch", "1"], ["--epoch"]),
        (["export"], ["target"]),
    ],
    ids=" ".join,
)
def test_an_unknown_name_is_named_with_the_way_out(
    bmc: Run, workspace: Path, arguments: list[str], words: list[str]
) -> None:
    refused(bmc(*arguments), *words)
    assert not workspace.exists()


# Settings that make no sense


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bits", "4"], ["static has no --bits", "--method weights --bits 4"]),
        (["--epochs", "2"], ["static trains nothing", "--epochs", "--method qat"]),
        (["--distill"], ["static trains nothing", "--distill", "--method qat"]),
        (["--method", "weights", "--learning-rate", "0.1"], ["--learning-rate", "--method qat"]),
        (["--set", "reech=2"], ["'reech'", "Did you mean 'reach'", "weight_bits"]),
    ],
    ids=" ".join,
)
def test_what_quantize_cannot_use_is_refused_with_what_can(
    bmc: Run, model_folder: Path, arguments: list[str], words: list[str]
) -> None:
    refused(bmc("quantize", model_folder, *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--epochs", "0"], ["epochs is 0"]),
        (["train", "--epochs", "many"], ["many", "epochs"]),
        (["train", "--learning-rate", "nan"], ["learning rate is nan"]),
        (["train", "--learning-rate", "-1"], ["learning rate is -1"]),
        (["train", "--batch-size", "0"], ["batch size is 0"]),
        (["train", "--checkpoint-every", "0"], ["checkpoint every is 0"]),
        (["train", "--precision", "int8"], ["'int8'", "bf16"]),
        (["train", "--device", "gpu"], ["'gpu'", "cuda"]),
        (["train", "--seed", "-1"], ["seed is -1"]),
        (["train", "--fold", "2"], ["--fold is '2'", "2/5"]),
        (["train", "--max-length", "2"], ["max length is 2"]),
        (["train", "--max-length", "100000"], ["max length is 100000"]),
        (["train", "--text-column", "text", "--text-column", "text", "--text-column", "x"], ["3"]),
        (["distill", "--hidden", "0"], ["hidden is 0"]),
        (["distill", "--hidden", "100", "--heads", "3"], ["100", "3 heads", "try 99"]),
        (["distill", "--transfer", "gone.txt"], ["gone.txt"]),
        (["distill", "--transfer-size", "-1"], ["-1 transfer texts"]),
        (["export", "--target", "onnx", "--opset", "7"], ["opset is 7"]),
        (["export", "--target", "onnx", "--max-batch", "0"], ["max batch is 0"]),
        (["export", "--target", "onnx,openvino", "--output", "x"], ["--output", "2 targets"]),
    ],
    ids=" ".join,
)
def test_a_setting_out_of_range_is_refused_before_anything_is_written(
    bmc: Run, workspace: Path, reviews_csv: Path, arguments: list[str], words: list[str]
) -> None:
    data = [] if arguments[0] == "export" else ["--data", reviews_csv]
    refused(bmc(*arguments, *data), *words)
    assert not list(workspace.rglob("*.*"))


@pytest.mark.parametrize("option", ["--temperature", "--hard"])
@pytest.mark.parametrize("value", ["nan", "-1", "inf"])
def test_a_distillation_with_a_senseless_loss_is_refused(
    bmc: Run, model_folder: Path, reviews_csv: Path, tmp_path: Path, option: str, value: str
) -> None:
    size = ("--layers", "1", "--hidden", "16", "--heads", "2")
    base = ("distill", "--teacher", model_folder, *size, "--data", reviews_csv)
    refused(bmc(*base, "-o", tmp_path / "out", option, value), f"{option[2:]} is ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "BUNDLE", "x", "--threads", "-1"], ["threads is -1"]),
        (["predict", "BUNDLE", ""], ["empty text"]),
        (["predict", "BUNDLE", "fine", "  "], ["empty text"]),
        (["predict", "BUNDLE", "one", "--pair", "other"], ["takes 1 text"]),
        (["predict", "BUNDLE", "one", "two", "--pair", "a"], ["2 texts but 1"]),
        (["check", "BUNDLE", "--threads", "-1"], ["threads is -1"]),
        (["bench", "BUNDLE", "--threads", "-1"], ["threads is -1"]),
        (["bench", "BUNDLE", "--launches", "1"], ["launches is 1"]),
        (["bench", "BUNDLE", "--batch", "0"], ["batch is 0"]),
        (["bench", "BUNDLE", "--length", "9999", "--launches", "2"], ["cannot compute"]),
        (["bench", "BUNDLE", "--precision", "int4"], ["int4"]),
    ],
    ids=" ".join,
)
def test_a_bundle_asked_for_nonsense_says_so(
    bmc: Run, bundle_of: Callable[[str], Path], arguments: list[str], words: list[str]
) -> None:
    bundle = str(bundle_of("onnx"))
    refused(bmc(*(bundle if word == "BUNDLE" else word for word in arguments)), *words)


def test_an_empty_line_of_input_classifies_nothing(
    bundle_of: Callable[[str], Path],
) -> None:
    done = subprocess.run(
        [*BMC, "predict", str(bundle_of("onnx"))],
        input="\n \n",
        capture_output=True,
        text=True,
        check=False,
    )
    refused((done.returncode, done.stdout, done.stderr), "empty text")


# Data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no rows"]),
        ("text,label\n", ["no rows"]),
        ("body,label\nx,a\ny,b\n", ["no column 'text'", "body, label", "--text-column"]),
        ("text,kind\nx,a\ny,b\n", ["no column 'label'", "text, kind", "--label-column"]),
        ("text,label\n" + "".join(f"t{n},a\n" for n in range(50)), ["only the class 'a'"]),
        ("text,label\nx,a\n ,b\n", ["row 2 has an empty text"]),
        ("text,label\nx,a\ny,\n", ["row 2 has an empty label"]),
        ("text,label\nx,a\ny,b\n", ["part empty"]),
        ('text,label\n"x,a\n', ["not readable as csv"]),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_with_the_reason(
    bmc: Run, workspace: Path, csv: Callable[[str], Path], text: str, words: list[str]
) -> None:
    path = csv(text)
    for verb in ("train", "distill"):
        refused(bmc(verb, "--data", path), "table", *words)
    assert not workspace.exists()


def test_a_table_that_is_binary_a_folder_or_unreadable_is_refused(bmc: Run, tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "unreadable.csv").symlink_to("/proc/self/mem")  # reading its start fails with EIO
    (tmp_path / "broken.jsonl").write_text('{"text": ')
    for name in ("binary.csv", "folder.csv", "unreadable.csv", "broken.jsonl"):
        refused(bmc("datasets", tmp_path / name), name)
    refused(bmc("datasets", tmp_path), str(tmp_path))


# Models and bundles that are none


def test_a_folder_that_is_no_model_directory_says_what_it_lacks(
    bmc: Run, tmp_path: Path, bundle_of: Callable[[str], Path], reviews_csv: Path
) -> None:
    (tmp_path / "empty").mkdir()
    data = ("--data", reviews_csv)
    for folder in (tmp_path / "empty", bundle_of("onnx")):
        refused(bmc("export", folder, "--target", "onnx"), str(folder), "no bmc.json")
        refused(bmc("distill", "--teacher", folder, *data), str(folder), "no bmc.json")
        refused(bmc("train", folder, *data), str(folder), "no config.json")


def test_a_model_directory_is_no_bundle(bmc: Run, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", model_folder):
        for verb in ("predict", "check", "bench"):
            text = ["what a film"] if verb == "predict" else []
            refused(bmc(verb, folder, *text), str(folder), "no manifest.json")


def test_a_model_directory_of_a_newer_bmc_says_how_to_upgrade(bmc: Run, made_model: Path) -> None:
    edit(made_model / "bmc.json", schema=99)
    line = refused(bmc("export", made_model, "--target", "onnx"), "schema 99")
    assert "pip install --upgrade bmc-toolkit" in line


@pytest.mark.parametrize("family", ["os.system", "../evil", "python:evil:run", "bert; rm"])
def test_a_model_directory_that_names_code_to_run_is_refused(
    bmc: Run, made_model: Path, family: str
) -> None:
    edit(made_model / "bmc.json", family=family)
    refused(bmc("export", made_model, "--target", "onnx"), "code to run", family)


def test_a_step_that_is_no_step_of_bmcs_is_refused(bmc: Run, made_model: Path) -> None:
    for method in ("os/system", "../../evil", "share/../../evil", ""):
        step: dict[str, Any] = {
            "method": method,
            "settings": {},
            "record": {},
            "seed": 0,
            "seconds": 0,
        }
        edit(made_model / "bmc.json", steps=[step])
        refused(bmc("export", made_model, "--target", "onnx"))


def test_a_hugging_face_folder_that_is_damaged_is_refused(
    bmc: Run, hf_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(hf_folder, tmp_path / "hf"))
    config = (folder / "config.json").read_text()
    for content in (
        "{",
        "[]",
        '{"model_type": "gpt2"}',
        '{"model_type": "bert", "vocab_size": []}',
    ):
        (folder / "config.json").write_text(content)
        refused(bmc("train", folder, "--data", reviews_csv), str(folder))
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(b"junk")
    refused(bmc("train", folder, "--data", reviews_csv), str(folder))
    (folder / "model.safetensors").unlink()
    refused(bmc("train", folder, "--data", reviews_csv), "no model.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_file_of_a_model_directory_is_named(
    bmc: Run, made_model: Path, name: str, workspace: Path
) -> None:
    with (made_model / name).open("ab") as file:
        file.write(b" ")
    refused(bmc("export", made_model, "--target", "onnx"), name, "changed", "sha256")
    assert not workspace.exists()


def test_data_other_than_the_model_was_trained_on_is_refused(
    bmc: Run, made_model: Path, csv: Callable[[str], Path]
) -> None:
    path = csv("text,label\n" + "".join(f"t{n},{'ab'[n % 2]}\n" for n in range(99)))
    line = refused(bmc("export", made_model, "--target", "onnx", "--data", path), "fingerprint")
    assert "--data" in line


@pytest.mark.parametrize("verb", ["predict", "check", "bench"])
def test_a_damaged_or_hostile_bundle_is_refused_by_every_verb(
    bmc: Run, made_bundle: Path, verb: str
) -> None:
    manifest = made_bundle / "manifest.json"
    whole = manifest.read_text()
    command = (verb, made_bundle, *(["what a film"] if verb == "predict" else []))

    def answer(text: str, *words: str) -> None:
        manifest.write_text(text)
        refused(bmc(*command), *words)

    answer("{", "manifest.json", "not readable JSON")
    answer("[]", "manifest.json")
    content = json.loads(whole)
    answer(json.dumps({**content, "schema": 99}), "schema 99", "upgrade")
    answer(json.dumps({**content, "labels": 7}), "7 where a list belongs")
    answer(json.dumps({**content, "model": "../outside"}), "leaves its folder")
    for name in ("../outside", "/etc/passwd"):
        answer(json.dumps({**content, "files": {name: "0" * 64}}), name, "leaves its folder")
    manifest.write_text(whole)
    with (made_bundle / "model.onnx").open("ab") as file:
        file.write(b"\0")
    refused(bmc(*command), "model.onnx", "changed", "sha256")


def test_a_bundle_that_answers_differently_fails_its_check(bmc: Run, made_bundle: Path) -> None:
    import numpy as np

    from bmc import bundle as bundles

    made = bundles.read(made_bundle)
    inputs, outputs = made.golden()
    other = {name: array + 1 for name, array in outputs.items()}
    bundles.write_golden(made_bundle / bundles.GOLDEN, inputs, other)
    bundles.write(made_bundle, made.manifest)
    refused(bmc("check", made_bundle), "answers differently", "allowed", code=1)
    nan = {name: np.full_like(array, np.nan) for name, array in outputs.items()}
    bundles.write_golden(made_bundle / bundles.GOLDEN, inputs, nan)
    bundles.write(made_bundle, made.manifest)
    refused(bmc("check", made_bundle), "answers differently", code=1)


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
        refused(bmc("export", model_folder, "--target", "onnx", *output), "nothing that bmc wrote")
    refused(
        bmc("export", model_folder, "--target", "onnx", "-o", tmp_path / "file" / "deep"),
        "file is no folder",
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
    place = tmp_path / "tiny-disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root; RLIMIT_FSIZE is tested above")
    try:
        result = bmc("export", model_folder, "--target", "onnx", "-o", place / "bundle")
        refused(result, "disk is full", str(place / "bundle"), "(0 MB free there)")
        assert os.listdir(place) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(
    hf_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    output = tmp_path / "trained"
    command = [*BMC, "train", str(hf_folder)]
    command += ["--data", str(reviews_csv), "--output", str(output), "--max-length", "16"]
    endless = [*command, "--epochs", "100000", "--checkpoint-every", "1"]

    def stopped() -> CompletedProcess[str]:
        before = max(
            (path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")), default=0
        )
        process = subprocess.Popen(
            endless,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background jobs ignore SIGINT, and so do their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            deadline = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < deadline:
                now = [path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.safetensors")]
                if now and now[0] > before:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return CompletedProcess(endless, process.returncode, out, err)

    first = stopped()
    line = refused((first.returncode, first.stdout, first.stderr), "stopped", code=130)
    assert "same command goes on from the last checkpoint" in line
    assert not output.exists()
    assert not list(tmp_path.rglob("*.tmp"))
    second = stopped()
    assert second.returncode == 130
    assert "going on from epoch" in second.stderr


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
    refused(bmc("export", model_folder, "--target", "onnx"), "file is no folder")
    refused(bmc("predict"), "no bundle")
