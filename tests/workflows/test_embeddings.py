"""Sentence embeddings through every step: a folder is read, teaches, shrinks, and gives vectors."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bmc
from bmc import artifact, cli
from bmc import data as datasets
from bmc.compress.distill.vectors import principal_axes
from bmc.errors import ArtifactError, BmcError, DataError, SettingError, UsageError
from bmc.inference.run import outputs_on_rows
from bmc.measure.vector_scores import neighbors_of
from bmc.report.collect import collect
from bmc.report.read import read_all
from bmc.workflows.data import DataSource
from bmc.workflows.distill import distill
from bmc.workflows.floor import floor_of
from bmc.workflows.lessons import steps_of
from bmc.workflows.lineage import data_of
from bmc.workflows.options import Output
from bmc.workflows.teachers import Teacher
from bmc.workflows.train import cross_validate, train
from bmc.workflows.tuning import Distillation
from tests._sentences import sentences, teacher_folder

Run = Callable[..., tuple[int, str, str]]
TEXTS = ("the great film", "a new york café")
EVERY = "onnx,openvino,tensorrt,pytorch"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace: the teacher as it was read, students, one of them in 8 bits; bundles."""
    folder = tmp_path_factory.mktemp("embedding")
    source = teacher_folder(folder / "teacher")
    data = ("--data", str(sentences(folder)), "--task", "embedding", "--quiet")
    small = ("--layers", "1", "--hidden", "8", "--heads", "1", "--batch-size", "16")
    ngram = ("--set", "buckets=64", "--set", "characters=0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder / "runs"))
        for command in (
            ["distill", "--teacher", str(source), *data, *small, "--epochs", "4"],
            ["distill", "--teacher", str(source), "--student", "ngram", *ngram, *data],
            ["prune", "tiny-texts", "--ratio", "0.3", "--epochs", "1", "--quiet"],
            ["quantize", "tiny-texts", "--quiet"],
            ["export", "teacher-texts", f"--target={EVERY}", "--quiet"],
            ["export", "tiny-texts-static", "--target=onnx", "--allow-slower", "--quiet"],
            ["export", "ngram-texts", "--target", "onnx", "--quiet"],
        ):
            assert cli.run(command) == 0, command
    return folder


@pytest.fixture
def workspace(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use that workspace, which the tests only read."""
    monkeypatch.setenv("BMC_HOME", str(made / "runs"))
    return made / "runs"


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_a_bundle_gives_the_vectors_of_the_model(target: str, workspace: Path) -> None:
    model = artifact.load(workspace / "teacher-texts")
    expected = outputs_on_rows(model.module, model.encoder, [(text,) for text in TEXTS], 2)
    with bmc.load(workspace / f"teacher-texts-{target}") as embed:
        matrix, vector, nothing = embed([*TEXTS]), embed(TEXTS[0]), embed([])
    assert matrix.dtype == vector.dtype == np.float32
    assert (matrix.shape, vector.shape, nothing.shape) == ((2, 16), (16,), (0, 16))
    np.testing.assert_allclose(matrix, expected, atol=1e-5)
    np.testing.assert_allclose(vector, expected[0], atol=1e-5)


def test_a_bundle_gives_vectors_without_torch(workspace: Path) -> None:
    bundle = str(workspace / "tiny-texts-static-onnx")
    code = (
        f"import bmc, sys; vector = bmc.load({bundle!r})('the film'); "
        "assert vector.shape == (8,), vector.shape; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bundle_keeps_the_ranges_of_its_vectors(workspace: Path) -> None:
    data = data_of(workspace / "teacher-texts", None)
    with bmc.load(workspace / "teacher-texts-onnx") as embed:
        vectors = embed([text for (text,) in (*data.validation.rows, *data.train.rows)])
        quantized = bmc.quantize_vectors(vectors, "int8", embed.ranges)
    np.testing.assert_allclose(embed.ranges, [vectors.min(0), vectors.max(0)], atol=1e-6)
    assert {quantized.min(), quantized.max()} == {-128, 127}


def test_the_teacher_is_read_as_it_is_and_scores_1(workspace: Path) -> None:
    scores = artifact.describe(workspace / "teacher-texts")["scores"]
    assert scores["validation"]["recall_at_10"]["value"] == 1
    assert scores["validation"]["spearman"]["value"] == pytest.approx(1)


def test_a_student_learns_its_teachers_neighbors(workspace: Path) -> None:
    lines = {line.name: line for line in collect(None).lines}
    student, ngram = lines["tiny-texts-static-onnx"], lines["ngram-texts-onnx"]
    assert student.measure == "recall_at_10"
    assert student.accuracy is not None
    assert lines["teacher-texts-onnx"].accuracy.value == 1  # type: ignore[union-attr]
    by_chance = neighbors_of(student.rows) / (student.rows - 1)
    assert student.accuracy.value > by_chance + 0.05
    assert ngram.accuracy.value > by_chance  # type: ignore[union-attr]
    assert student.scores["sentences"] == student.rows
    assert ngram.teacher_bundle == "teacher-texts-onnx"
    assert ngram.drop == pytest.approx(100 * (1 - ngram.accuracy.value))  # type: ignore[union-attr]
    assert "spearman" in student.scores


def test_labels_of_a_table_are_classes_and_similarities_of_pairs(tmp_path: Path) -> None:
    texts = [f"text number {number}" for number in range(60)]
    path = tmp_path / "classes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "label"), *((text, f"c{len(text) % 2}") for text in texts)])
    assert set(datasets.load(str(path), task="embedding").train.labels) == {0, 1}
    rare = tmp_path / "rare.csv"
    with rare.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, text) for text in texts)])
    data = datasets.load(str(rare), task="embedding")
    assert [len(part) for part in (data.validation, data.test)] == [6, 12]
    pairs = tmp_path / "pairs.csv"
    with pairs.open("w", newline="") as file:
        rows = zip(texts[::2], texts[1::2], range(30), strict=True)
        csv.writer(file).writerows([("a", "b", "score"), *rows])
    data = datasets.load(str(pairs), ("a", "b"), "score", "embedding")
    assert data.columns == ("a",)
    assert len(data.test) % 2 == 0
    assert data.test.labels[0] == data.test.labels[1]
    assert isinstance(data.test.labels[0], float)
    assert len(data.test.rows[0]) == 1
    labels = datasets.with_reference(
        data,
        datasets.Reference(
            np.ones((len(data.validation), 3), np.float32), np.ones((len(data.test), 3), np.float32)
        ),
    ).test.labels
    assert labels[0][-1] == labels[1][-1] == data.test.labels[0]


def test_pairs_of_labels_are_scored_and_read_again_from_both_columns(
    made: Path, tmp_path: Path, bmc: Run
) -> None:
    texts = (made / "texts.txt").read_text().splitlines()
    path = tmp_path / "pairs.csv"
    rows = zip(texts[::2], texts[1::2], range(45), strict=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "label"), *rows])
    columns = ("--text-column", "a", "--text-column", "b")
    typed = ("--data", str(path), *columns, "--task", "embedding", "-o", str(tmp_path / "model"))
    assert bmc("train", str(made / "teacher"), *typed)[0] == 0
    scores = artifact.describe(tmp_path / "model")["scores"]["validation"]
    assert "spearman_of_labels" in scores
    assert scores["rows"] % 2 == 0
    code, _, error = bmc("quantize", str(tmp_path / "model"), "-o", str(tmp_path / "int8"))
    assert code == 0, error


def refused(error: type[BmcError], message: str, call: Callable[[], object]) -> None:
    with pytest.raises(error, match=message):
        call()


def test_what_a_combination_cannot_do_is_refused_with_the_way_out(
    made: Path, workspace: Path, tmp_path: Path
) -> None:
    source = DataSource(data=str(made / "texts.txt"), task="embedding")
    teacher = str(made / "teacher")

    def learn(**settings: Any) -> object:
        return lambda: distill(teacher, source, Distillation(**settings))

    classes = replace(source, task="classification")
    named = [Teacher(tmp_path, "", "named", ())] * 2
    cases: list[tuple[type[BmcError], str, Any]] = [
        (UsageError, "reads .* as it is", lambda: train(teacher, source, {}, {"epochs": 2})),
        (UsageError, "makes no vectors of texts", lambda: train("lstm", source, {}, {})),
        (UsageError, "makes no vectors of texts", learn(student="lstm")),
        (UsageError, "--signals is for students of classes", learn(signals="hidden=1")),
        (UsageError, "--hard is for students of classes", learn(hard_label_weight=1.0)),
        (SettingError, "similarity weight is -1", learn(similarity_weight=-1.0)),
        (
            DataError,
            "holds image; --task embedding takes texts",
            lambda: datasets.load("digits", task="embedding"),
        ),
        (
            UsageError,
            "--similarity-weight weighs",
            lambda: distill("bert", classes, Distillation(similarity_weight=2.0)),
        ),
        (
            UsageError,
            "nothing to cross-validate",
            lambda: cross_validate(teacher, source, {}, {}, Output(), 3),
        ),
        (
            UsageError,
            "save the encoder as a Hugging Face folder",
            lambda: bmc.wrap(torch.nn.Linear(2, 2), ([], []), task="embedding"),
        ),
        (UsageError, "2 teachers", lambda: steps_of(Distillation(), named, task="embedding")),
    ]
    for error, message, call in cases:
        refused(error, message, call)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("prune", "tiny-texts", "--method", "movement"), "add --distill or name one"),
        (("prune", "tiny-texts", "--set", "criterion=taylor", "--ratio", "0.2"), "criterion="),
        (("prune", "tiny-texts", "--teacher", "teacher-texts"), "leave --teacher out"),
    ],
)  # fmt: skip
def test_verbs_that_need_labels_or_the_same_width_are_refused(
    command: tuple[str, ...], message: str, workspace: Path, tmp_path: Path, bmc: Run
) -> None:
    code, _, error = bmc(*command, "-o", str(tmp_path / "out"))
    assert code == 2
    assert message in error


def test_folders_and_files_that_are_named_in_the_wrong_place_are_refused(
    made: Path, hf_folder: Path, tmp_path: Path, bmc: Run
) -> None:
    code, _, error = bmc("quantize", str(hf_folder))
    assert code == 2
    assert f"is read by bmc train {hf_folder}" in error
    missing = ("--data", str(tmp_path / "no.txt"), "--task", "embedding")
    code, _, error = bmc("distill", "--teacher", str(made / "teacher"), *missing)
    assert code == 2
    assert "no data file" in error


def test_a_directory_without_its_reference_is_refused(workspace: Path, tmp_path: Path) -> None:
    model = artifact.load(workspace / "tiny-texts")
    model.reference = None
    artifact.save(model, tmp_path / "model")
    with pytest.raises(ArtifactError, match="make it again with bmc train or bmc distill"):
        data_of(tmp_path / "model", None)


@pytest.mark.parametrize("verb", ["inspect", "show", "check", "predict", "report"])
def test_verbs_that_read_take_models_and_bundles_of_vectors(
    verb: str, workspace: Path, tmp_path: Path, bmc: Run
) -> None:
    arguments = {
        "inspect": ("tiny-texts", "--rows", "8"),
        "show": ("tiny-texts",),
        "check": ("teacher-texts-onnx",),
        "predict": ("teacher-texts-onnx", "the film"),
        "report": ("--no-bench", "--output", str(tmp_path / "report")),
    }[verb]
    code, out, error = bmc(verb, *arguments)
    assert code == 0, error
    if verb == "predict":
        assert len(json.loads(out[: out.index("]") + 1])) == 16


def test_the_floor_is_tfidf_and_ngrams_taught_by_the_teacher(
    workspace: Path, tmp_path: Path, bmc: Run
) -> None:
    names = ("tiny-texts-static-onnx", "teacher-texts-onnx")
    written = tmp_path / "report"
    code, _, error = bmc("report", *names, "--no-bench", "--output", written)
    assert code == 0, error
    lines = {
        line["name"]: line for line in json.loads((written / "report.json").read_text())["lines"]
    }
    svd, ngram = lines["floor-svd-texts-onnx"], lines["floor-ngram-texts-onnx"]
    assert svd["floor"].startswith("TF-IDF with a truncated SVD")
    assert ngram["floor"].startswith("hashed n-grams taught by teacher-texts")
    for line in (svd, ngram):
        assert line["rows"] == lines[names[0]]["rows"]
        assert line["accuracy"]["value"] > neighbors_of(line["rows"]) / (line["rows"] - 1)
        assert line["scores"]["spearman"]["value"] > 0
    assert "floor-svd-texts-onnx: " in (written / "report.md").read_text()
    everything = floor_of(read_all()[0])
    assert [folder.name for folder in everything.folders] == ["floor-svd-texts-onnx"]
    assert not everything.notes


def test_axes_keep_most_of_the_vectors() -> None:
    vectors = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    vectors = vectors * torch.tensor([5.0, 4, 3, 0.1, 0.1, 0.1]) + 2
    axes = principal_axes(vectors, 3)
    kept = (vectors @ axes).pow(2).sum() / vectors.pow(2).sum()
    _, _, expected = torch.linalg.svd(vectors, full_matrices=False)
    assert kept == pytest.approx(
        float((vectors @ expected[:3].T).pow(2).sum() / vectors.pow(2).sum())
    )


def test_a_sentence_of_held_out_pairs_is_not_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.csv"
    lines = [f"sentence {i % 10},sentence {10 + i},{i % 5}" for i in range(60)]
    path.write_text("\n".join(["a,b,label", *lines]))
    data = datasets.load(str(path), ("a", "b"), task="embedding")
    held = {*data.validation.rows, *data.test.rows}
    assert len(data.test) % 2 == len(data.validation) % 2 == 0, "pairs stay whole there"
    assert len(data.train)
    assert not held & set(data.train.rows)
    assert "are in held-out pairs, too, and are left out of training" in capsys.readouterr().err
