"""What a person is told of a model's answers: by class in every verb, and what was missed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bmc import artifact
from bmc import bundle as bundles

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--epochs", 2, "--precision", "fp32", "--device", "cpu")


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    """Write images of two classes that are easily told apart, and a few of a third, all noise."""
    generator = np.random.default_rng(0)
    labels = np.array(["dark"] * 100 + ["light"] * 100 + ["odd"] * 12)
    level = np.where(labels == "light", 150, 20)[:, None, None]
    images = (level + generator.integers(0, 60, (212, 8, 8))).astype(np.uint8)
    np.savez(tmp_path / "three.npz", images=images, labels=labels)
    return tmp_path / "three.npz"


def test_every_verb_shows_the_classes_and_says_which_was_missed(
    three_classes: Path, bmc: Run, workspace: Path
) -> None:
    missed = "every row of class odd was missed"
    code, out, err = bmc("train", "mlp", "--data", three_classes, *QUICK)
    assert code == 0, err
    for text in ("precision", "recall", "F1", "-> dark", missed):
        assert text in out
    result = artifact.describe(workspace / "mlp-three")["scores"]
    assert result["validation"]["accuracy"]["value"] == pytest.approx(result["validation_accuracy"])
    assert result["validation"]["by_class"]["recall"][2] == 0
    assert sum(map(sum, result["validation"]["confusion"])) == result["validation"]["rows"]

    code, out, err = bmc("prune", "mlp-three", "--method", "unstructured", "--ratio", 0.3)
    assert code == 0, err
    assert missed in out
    (pruned,) = workspace.glob("mlp-three-*")
    assert artifact.describe(pruned)["scores"]["validation"]["by_class"]["recall"][2] == 0

    code, out, err = bmc("export", "mlp-three", "--target", "onnx,pytorch")
    assert code == 0, err
    assert out.count(missed) == 1, "two targets that answer alike show one table"
    assert "-> light" in out
    assert "test accuracy" in out


def test_json_holds_the_scores_by_class_and_the_matrix(
    three_classes: Path, bmc: Run, workspace: Path
) -> None:
    code, out, err = bmc("train", "mlp", "--data", three_classes, *QUICK, "--json")
    assert code == 0, err
    assert json.loads(out)["scores"]["validation"]["confusion"]
    code, out, err = bmc("export", "mlp-three", "--target", "onnx", "--json")
    assert code == 0, err
    (created,) = json.loads(out)["bundles"]
    assert created["scores"] == bundles.read(workspace / "mlp-three-onnx").manifest.scores
    assert created["scores"]["by_class"]["precision"]


def test_a_regression_shows_three_scores(tmp_path: Path, bmc: Run, workspace: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "level.npz", images=images, labels=images.mean(axis=(1, 2)) + 0.5)
    task = ("--task", "regression")
    code, out, err = bmc("train", "mlp", "--data", tmp_path / "level.npz", *task, *QUICK)
    assert code == 0, err
    assert "validation R2" in out
    assert "MAE" in out
    assert "MSE" in out
    assert set(artifact.describe(workspace / "mlp-level")["scores"]["validation"]) >= {"mae", "r2"}
    code, out, err = bmc("export", "mlp-level", "--target", "onnx")
    assert "MAE" in out


def test_folds_show_the_classes_of_all_rows_together(three_classes: Path, bmc: Run) -> None:
    code, out, err = bmc("train", "mlp", "--data", three_classes, "--folds", 2, *QUICK)
    assert code == 0, err
    assert "every row of class odd was missed (12 of 12)" in out


def test_a_model_written_before_without_these_scores_is_still_read(
    three_classes: Path, bmc: Run, workspace: Path
) -> None:
    assert bmc("train", "mlp", "--data", three_classes, *QUICK)[0] == 0
    path = workspace / "mlp-three" / "bmc.json"
    content = json.loads(path.read_text())
    del content["scores"]["validation"]
    path.write_text(json.dumps(content))
    assert bmc("export", "mlp-three", "--target", "onnx")[0] == 0


def test_predict_says_what_of_pictures_the_model_does_not_see(
    three_classes: Path, bmc: Run, tmp_path: Path
) -> None:
    assert bmc("train", "mlp", "--data", three_classes, *QUICK)[0] == 0
    assert bmc("export", "mlp-three", "--target", "onnx")[0] == 0
    picture = Image.fromarray(np.full((8, 8, 4), 90, np.uint8))
    picture.save(tmp_path / "clear.png")
    picture.convert("RGB").save(tmp_path / "plain.png")
    pictures = [tmp_path / "clear.png", tmp_path / "plain.png"]
    code, _, err = bmc("predict", "mlp-three-onnx", *pictures)
    assert code == 0, err
    assert "1 of 2 images have transparency, which the model does not see" in err
