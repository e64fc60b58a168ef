"""Bad input: one line on stderr, the exit code that is documented, and nothing half-written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli._refusals import BMC, Run, refused

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
        (["train", "--epochs", "-1"], ["epochs is -1"]),
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
        (["distill", "--transfer-size", "-1"], ["-1 transfer rows"]),
        (["distill", "--augment-texts", "-1"], ["augment texts is -1"]),
        (["distill", "--signals", "hidden=0"], ["weights of all signals are 0"]),
        (["distill", "--student", "ngram", "--set", "buckets=0"], ["buckets is 0"]),
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
        (["predict", "BUNDLE", "one", "--pair", "other"], ["takes 1 text"]),
        (["predict", "BUNDLE", "one", "two", "--pair", "a"], ["2 texts but 1"]),
        (["check", "BUNDLE", "--threads", "-1"], ["threads is -1"]),
        (["bench", "BUNDLE", "--threads", "-1"], ["threads is -1"]),
        (["bench", "BUNDLE", "--launches", "1"], ["launches is 1"]),
        (["bench", "BUNDLE", "--batch", "0"], ["batch is 0"]),
        (["bench", "BUNDLE", "--length", "9999", "--launches", "2"], ["takes at most 64"]),
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
        ("text,label\nx,a\n ,b\n", ["line 3, column 'text', has an empty text"]),
        ("text,label\nx,a\ny,\n", ["line 3, column 'label', has an empty label"]),
        ("text,label\nx,a\ny,b\n", ["part empty"]),
        ('text,label\n"x,a\n', ["line 2 opens a quote that is never closed"]),
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
