"""Several labels a row through every step: thresholds stay with the model, answers are sets."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bmc
from bmc import artifact, cli
from bmc import bundle as bundles
from bmc.errors import BmcError, DataError
from bmc.manifest import digest_of
from bmc.measure.scores import Interval
from bmc.report import page
from bmc.report.collect import collect
from bmc.report.read import read_all
from bmc.workflows.floor import floor_of

Run = Callable[..., tuple[int, str, str]]
WORDS = {"cast": ("acting", "actor"), "music": ("score", "song"), "plot": ("story", "twist")}
EVERY = "onnx,openvino,tensorrt"
FILLERS = ("the", "a", "of", "film", "it", "was", "and", "very", "last", "night")
TEXT = "the story of a song"


def films(folder: Path) -> Path:
    """Write 120 texts whose words tell their labels."""
    generator = random.Random(0)
    rows = []
    for _ in range(120):
        labels = [label for label in WORDS if generator.random() < 0.4]
        words = generator.choices(FILLERS, k=5)
        words += [generator.choice(WORDS[label]) for label in labels]
        generator.shuffle(words)
        rows.append(json.dumps({"text": " ".join(words), "label": labels}))
    path = folder / "films.jsonl"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace: a teacher, its student, the teacher in 8 bits and cut; bundles of all."""
    folder = tmp_path_factory.mktemp("multilabel")
    data = ("--data", str(films(folder)), "--task", "multilabel", "--quiet")
    sizes = [f"--set={size}" for size in ("layers=1", "hidden=16", "heads=2", "vocabulary=100")]
    fast = ("--learning-rate", "0.02", "--batch-size", "16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder / "runs"))
        for command in (
            ["train", "transformer", *data, *sizes, *fast, "--epochs", "6", "-o", "runs/teacher"],
            ["distill", "--teacher", "teacher", "--student", "ngram", *data, "--epochs", "1"],
            ["prune", "teacher", "--ratio", "0.3", "--epochs", "1", "--distill", "--quiet"],
            ["quantize", "teacher", "--quiet"],
            ["export", "teacher", "--target", "onnx,pytorch", "--quiet"],
            ["export", "teacher-static", f"--target={EVERY}", "--allow-slower", "--quiet"],
            ["export", "ngram-films", "--target", "onnx", "--quiet"],
        ):
            typed = [word.replace("runs/", f"{folder}/runs/") for word in command]
            assert cli.run(typed) == 0, command
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that workspace; the data stays where it is."""
    copy = shutil.copytree(made / "runs", tmp_path / "workspace")
    monkeypatch.setenv("BMC_HOME", str(copy))
    return copy


def test_every_step_records_a_threshold_for_each_label(place: Path) -> None:
    for name in ("teacher", "ngram-films", "teacher-structured", "teacher-static"):
        model = artifact.load(place / name)
        assert model.task == "multilabel"
        assert len(model.thresholds) == len(model.labels) == 3
        assert all(0 < threshold < 1 for threshold in model.thresholds)
        assert model.scores["validation"]["micro_f1"]["value"] > 0.5
        assert "validation_micro_f1" in model.scores


@pytest.mark.parametrize(
    "name",
    ["teacher-onnx", "teacher-pytorch", "ngram-films-onnx"]
    + [f"teacher-static-{target}" for target in ("onnx", "openvino", "tensorrt")],
)
def test_a_bundle_keeps_them_and_is_scored_by_them(place: Path, name: str) -> None:
    bundle = bundles.read(place / name)
    model = artifact.load(place / bundle.manifest.name)
    assert bundle.manifest.thresholds == model.thresholds
    assert bundle.manifest.failure is None
    stand_in = bundle.manifest.stand_in
    scores = stand_in.scores if stand_in else bundle.manifest.scores
    assert scores["micro_f1"]["value"] > 0.5
    assert len(scores["by_class"]["f1"]) == 3
    assert bundle.manifest.parity["agreement"] > 0.9


def test_a_bundle_answers_with_the_labels_above_their_thresholds(place: Path) -> None:
    with bmc.load(place / "teacher-onnx") as pipeline:
        logits = pipeline.outputs([TEXT])[0]
        answers, empty = pipeline([TEXT, TEXT]), pipeline("the")
        thresholds = pipeline.bundle.manifest.thresholds
        labels = pipeline.bundle.manifest.labels
    expected = {
        label: probability
        for label, probability, threshold in zip(
            labels, 1 / (1 + np.exp(-logits.astype(float))), thresholds, strict=True
        )
        if probability > threshold
    }
    assert {each.label: each.score for each in answers[0]} == pytest.approx(expected)
    assert [each.score for each in answers[0]] == sorted(expected.values(), reverse=True)
    assert answers[1] == answers[0]
    assert isinstance(empty, tuple)
    in_pytorch = bmc.open(place / "teacher").predict(TEXT)
    assert [each.label for each in in_pytorch] == [each.label for each in answers[0]]


def test_a_bundle_answers_without_torch(place: Path) -> None:
    code = (
        "import sys, bmc\n"
        f"print(type(bmc.load({str(place / 'teacher-static-onnx')!r})({TEXT!r})).__name__)\n"
        "print({'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "tuple\nset()\n"


def test_predict_and_check_show_sets(place: Path, bmc: Run) -> None:
    code, out, err = bmc("predict", place / "teacher-onnx", TEXT, "the", "--json")
    assert code == 0, err
    first, _ = json.loads(out)["answers"]
    assert {entry["label"] for entry in first} <= set(WORDS)
    assert all(0 < entry["score"] < 1 for entry in first)
    code, out, err = bmc("check", place / "teacher-onnx")
    assert code == 0, err
    assert "golden rows and their labels too" in out


def test_a_report_compares_them_by_micro_f1(place: Path, bmc: Run) -> None:
    code, out, err = bmc("report", "--no-bench", "--no-floor", "--json", "-o", place / "page")
    assert code == 0, err
    lines = {line["name"]: line for line in json.loads(out)["lines"]}
    student = lines["ngram-films-onnx"]
    assert student["measure"] == "micro_f1"
    assert student["accuracy"]["value"] == student["scores"]["micro_f1"]["value"]
    assert 0 <= student["agreement"]["value"] <= 1
    page = (place / "page" / "index.html").read_text()
    assert "micro F1" in page
    assert "by class" in (place / "page" / "report.md").read_text()


def test_the_first_sentence_of_a_report_names_micro_f1(place: Path) -> None:
    report = collect(None, folders=[place / "ngram-films-onnx"])
    (line,) = report.lines
    fast = replace(line, speed_up=Interval(2.0, 1.9, 2.1))
    written = page.html(replace(report, lines=(fast,), references={line.data: "teacher-onnx"}))
    assert "% micro F1" in written
    assert "test accuracy" not in written


def test_the_floor_has_a_linear_model_for_each_label(place: Path) -> None:
    evaluated, _ = read_all([place / "teacher-onnx"])
    floor = floor_of(evaluated)
    assert len(floor.folders) == 2, floor.notes
    linear = next(path for path in floor.folders if "tfidf" in path.name)
    assert bundles.read(linear).manifest.scores["micro_f1"]["value"] > 0.5


def test_inspect_explains_sets_and_measures_layers(place: Path, bmc: Run) -> None:
    code, out, err = bmc("inspect", place / "teacher", "--sensitivity", "--json")
    assert code == 0, err
    inspection = json.loads(out)
    assert inspection["measure"] == "micro_f1"
    assert inspection["importance"][0]["words"]
    assert inspection["sensitivity"]["losses"]


@pytest.mark.parametrize("thresholds", [[], [0.5], [0.5, 0.5, 1.0], "half", [0.5, 0.5, None]])
def test_thresholds_that_do_not_fit_the_labels_are_refused(place: Path, thresholds: Any) -> None:
    model = place / "teacher" / "bmc.json"
    model.write_text(json.dumps({**json.loads(model.read_text()), "thresholds": thresholds}))
    with pytest.raises(BmcError, match=r"thresholds is .* for each of 3 labels"):
        artifact.load(place / "teacher")
    path = place / "teacher-onnx" / "manifest.json"
    content = {**json.loads(path.read_text()), "thresholds": thresholds}
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    with pytest.raises(BmcError, match=r"threshold|list|must be a number"):
        bundles.read(place / "teacher-onnx")


def test_a_teacher_of_one_label_a_row_is_refused(place: Path, bmc: Run, made: Path) -> None:
    one = made / "one.csv"
    one.write_text("text,label\n" + "".join(f"a film {n},{n % 2}\n" for n in range(40)))
    code, _, err = bmc(
        *("distill", "--teacher", place / "teacher", "--data", one, "--student", "ngram"),
        *("--task", "classification"),
    )
    assert code == 2
    assert "is for multilabel, and the task here is classification" in err


def test_folds_are_scored_by_thresholds_of_their_own(workspace: Path, made: Path, bmc: Run) -> None:
    data = ("--data", made / "films.jsonl", "--task", "multilabel")
    fast = ("--epochs", "2", "--device", "cpu", "--folds", "2", "--json")
    code, out, err = bmc("train", "ngram", *data, *fast)
    assert code == 0, err
    pooled = json.loads(out)["pooled"]
    assert pooled["micro_f1"]["low"] <= pooled["micro_f1"]["value"] <= pooled["micro_f1"]["high"]
    assert len(pooled["by_class"]["average_precision"]) == 3


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.linear(x)
        return outputs


def test_a_network_of_ones_own_learns_flags_or_names(workspace: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    flags = (rows[:, :3] > 0.3).astype(int)
    names = [[f"x{label}" for label in np.flatnonzero(row)] for row in flags]
    handles = [
        bmc.wrap(Network(), (rows, flags), task="multilabel", labels=["x0", "x1", "x2"], name="a"),
        bmc.wrap(Network(), (rows, names), task="multilabel", name="b"),
    ]
    assert handles[0].data["fingerprint"] == handles[1].data["fingerprint"]
    trained = bmc.train(handles[0], epochs=10, learning_rate=0.1, precision="fp32", device="cpu")
    bundle = trained.to("onnx")
    assert bundle.scores["micro_f1"]["value"] > 0.7
    assert {each.label for each in bundle.predict(rows[0])} <= {"x0", "x1", "x2"}


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (np.arange(80) % 2, {}, "each row has one label"),
        (np.ones((80, 3), int), {"labels": ["a", "b"]}, "3 labels of 0 or 1; there are 2 names"),
        ([[2, 0, 1]] * 80, {}, "they are names, or 0 or 1 for each"),
        ([["a", "z"]] * 80, {"labels": ["a", "b", "c"]}, "the labels z are not among them"),
        ([[0, 1, 1], [1, 0]] * 40, {}, "rows have 3 and 2 labels of 0 or 1; each row takes"),
    ],
)
def test_labels_of_a_wrapped_network_that_are_no_sets_are_refused(
    labels: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        bmc.wrap(Network(), (np.ones((80, 4), np.float32), labels), task="multilabel", **settings)


def test_a_score_of_ones_own_takes_the_outputs_as_they_are(workspace: Path) -> None:
    def share_above_0(logits: Any, labels: Any) -> float:
        return float((logits > 0).mean())

    rows = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    flags = (rows[:, :3] > 0.3).astype(int)
    with pytest.raises(DataError, match="no row has the label '2'"):
        bmc.wrap(Network(), (rows, flags * [1, 1, 0]), task="multilabel")
    wrapped = bmc.wrap(Network(), (rows, flags), task="multilabel", score=share_above_0)
    trained = bmc.train(wrapped, epochs=1, precision="fp32", device="cpu")
    assert any(limit != 0.5 for limit in artifact.load(trained.path).thresholds)
    validation = trained.scores["validation"]["share_above_0"]["value"]
    assert validation == pytest.approx(trained.scores["validation_share_above_0"])
    bundle = trained.to("onnx")
    outputs = np.load(bundle.path / "evaluation.npz")["logits"]
    assert bundle.scores["share_above_0"]["value"] == pytest.approx(float((outputs > 0).mean()))
