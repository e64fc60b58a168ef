"""`bmc train`: its own recipe unless told otherwise, folds, and divergence at the command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bmc import artifact
from bmc import data as datasets
from bmc.contracts import families
from bmc.data import Fold

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--epochs", 1, "--precision", "fp32", "--device", "cpu")


def test_what_is_not_typed_comes_from_the_familys_recipe(bmc: Run, workspace: Path) -> None:

    code, _, err = bmc("train", "mlp", "--data", "digits", "--set", "width=32", *QUICK)
    assert code == 0, err
    origin = artifact.describe(workspace / "mlp-digits")["origin"]
    recipe = families.family("mlp").recipe("mlp")
    assert origin["settings"]["epochs"] == 1
    assert origin["settings"]["learning_rate"] == recipe.learning_rate
    assert origin["settings"]["batch_size"] == recipe.batch_size
    assert origin["options"]["width"] == 32


def test_folds_print_mean_and_spread_and_write_no_model(bmc: Run, workspace: Path) -> None:
    options = ("--data", "digits", "--folds", 3, *QUICK)
    code, out, err = bmc("train", "mlp", *options, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert len(content["folds"]) == 3
    assert len(set(content["folds"])) > 1
    assert content["mean"] == pytest.approx(np.mean(content["folds"]))
    assert content["standard_deviation"] == pytest.approx(np.std(content["folds"], ddof=1))
    assert min(content["folds"]) > 0.3, "ten classes: guessing scores 0.1"
    assert not list(workspace.rglob("*.safetensors"))


def test_a_persons_line_names_the_folds_the_mean_and_the_deviation(bmc: Run) -> None:
    code, out, err = bmc("train", "mlp", "--data", "digits", "--folds", 2, *QUICK)
    assert code == 0, err
    assert out.startswith("2 folds: held-out accuracy 0.")
    assert "standard deviation 0." in out


def test_folds_partition_the_rows() -> None:
    whole = datasets.load("digits")
    everyone = sorted(
        row.tobytes() for part in (whole.train, whole.validation, whole.test) for row in part.rows
    )
    held: list[bytes] = []
    for number in (1, 2, 3):
        data = datasets.load("digits", fold=Fold(number, 3))
        parts = [
            [row.tobytes() for row in part.rows]
            for part in (data.train, data.validation, data.test)
        ]
        assert sorted(parts[0] + parts[1] + parts[2]) == everyone
        assert not set(parts[0]) & set(parts[2])
        assert not set(parts[1]) & set(parts[2])
        assert set(data.test.labels) == set(range(10))
        held += parts[2]
    assert sorted(held) == everyone


def test_a_loss_that_becomes_no_number_is_exit_1_with_the_step_and_the_checkpoint(
    bmc: Run, tmp_path: Path
) -> None:
    """One step at such a rate makes weights near 90, and forty layers of them overflow."""
    output = tmp_path / "diverged"
    options = ("--data", "digits", "--set", "depth=40", "--checkpoint-every", 1, "--warmup", 0)
    rate = ("--learning-rate", 90, "--schedule", "fixed")
    code, out, err = bmc("train", "mlp", *options, *rate, "-o", output, *QUICK)
    line = err.splitlines()[-1]
    assert (code, out) == (1, ""), err
    assert line.startswith("bmc: the loss is ")
    assert "epoch 1, step 2 " in line
    assert "--learning-rate" in line
    checkpoint = tmp_path / ".checkpoints" / "diverged" / "checkpoint.safetensors"
    assert str(checkpoint) in line
    assert not output.exists()
    assert all(torch.isfinite(value.float()).all() for value in load_file(checkpoint).values())


@pytest.fixture
def three_classes(reviews_csv: Path, tmp_path: Path) -> Path:
    """Return those reviews with a third class: the short ones."""
    path = tmp_path / "three.csv"
    with reviews_csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:120]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in rows:
            short = len(row["text"].split()) < 12
            writer.writerow([row["text"], "short" if short else row["label"]])
    return path


@pytest.mark.parametrize("kind", ["hugging face folder", "model directory"])
def test_a_model_of_another_number_of_classes_gets_a_fresh_classifier_and_keeps_the_rest(
    bmc: Run,
    kind: str,
    hf_folder: Path,
    model_folder: Path,
    three_classes: Path,
    tmp_path: Path,
) -> None:
    inputs = hf_folder if kind == "hugging face folder" else model_folder
    output = tmp_path / "three"
    options = ("--max-length", 16, "--learning-rate", 1e-9, *QUICK)
    code, _, err = bmc("train", inputs, "--data", three_classes, "-o", output, *options)
    assert code == 0, err
    copied = artifact.load(output)
    assert copied.labels == ("negative", "positive", "short")
    weights, before = (
        load_file(output / "model.safetensors"),
        load_file(inputs / "model.safetensors"),
    )
    assert weights["classifier.weight"].shape == (3, 32)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    torch.testing.assert_close(weights[name], before[name], atol=1e-5, rtol=0)


def test_a_teacher_of_other_classes_is_refused_with_both_lists(
    bmc: Run, model_folder: Path, three_classes: Path
) -> None:
    code, out, err = bmc("distill", "--teacher", model_folder, "--data", three_classes)
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert "predicts negative, positive; the data has negative, positive, short" in line
    assert "Logits of different labels cannot be compared" in line
    assert "relation, spatial-attention) do not teach the answers: train a teacher" in line


def test_a_student_says_which_data_it_learned(
    bmc: Run, model_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    size = ("--layers", 1, "--hidden", 16, "--heads", 2)
    options = ("--data", reviews_csv, "--transfer", "none", "--epochs", 1, "--device", "cpu")
    code, _, err = bmc(
        "distill", "--teacher", model_folder, *size, *options, "-o", tmp_path / "student"
    )
    assert code == 0, err
    created, teacher_data = (
        artifact.describe(item)["data"] for item in (tmp_path / "student", model_folder)
    )
    assert created["fingerprint"] == teacher_data["fingerprint"]
    assert created["reference"] == str(reviews_csv)


@pytest.mark.parametrize("fold", [[1], 5, "1/5", {"a": 1, "b": 2}, [1, 5, 7]])
def test_a_teacher_whose_fold_is_nonsense_is_refused(
    fold: object, bmc: Run, model_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(model_folder, tmp_path / "other"))
    record = json.loads((other / "bmc.json").read_text(encoding="utf-8"))
    record["data"]["fold"] = fold
    (other / "bmc.json").write_text(json.dumps(record), encoding="utf-8")
    data = ("--data", reviews_csv, "--transfer", "none")
    code, out, err = bmc("distill", "--teacher", other, *data)
    assert (code, out) == (2, "")
    assert "fold of its data is recorded as" in err.splitlines()[-1]


def test_a_teacher_that_saw_rows_which_are_held_out_here_is_refused(
    bmc: Run, model_folder: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reviews_csv.parent)
    reviews_csv = Path(reviews_csv.name)  # the same file by another path
    data = ("--data", reviews_csv, "--fold", "2/5", "--transfer", "none")
    code, out, err = bmc("distill", "--teacher", model_folder, *data)
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert "with the usual test split" in line
    assert "here it is fold 2/5" in line
    assert "same --fold" in line


def test_a_model_of_other_classes_cannot_be_exported_with_this_data(
    bmc: Run, model_folder: Path, three_classes: Path
) -> None:
    code, out, err = bmc("export", model_folder, "--target", "onnx", "--data", three_classes)
    assert (code, out) == (2, "")
    assert "is not the data that" in err.splitlines()[-1]
