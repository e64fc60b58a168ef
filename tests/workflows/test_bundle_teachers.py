"""A bundle as the teacher: its logits teach, and what it cannot give is refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bmc
from bmc import artifact, pipeline
from bmc import bundle as bundles
from bmc.data import Dataset
from bmc.errors import ArtifactError, UsageError
from bmc.files import sha256
from bmc.training.bundle_network import load_bundle
from bmc.training.teacher_logits import cached_logits
from bmc.workflows import distill, export, lineage
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output, SampledFiles
from bmc.workflows.tuning import Distillation

QUICK: dict[str, Any] = {"epochs": 1, "device": "cpu", "precision": "fp32", "transfer": "none"}
NGRAM = Distillation("ngram", settings={"buckets": 50}, **QUICK)
MLP = Distillation("mlp", settings={"width": 8}, **QUICK)


@pytest.fixture(scope="module")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory) -> bmc.BundleHandle:
    """Return the ONNX bundle of an MLP that was trained on digits for one epoch."""
    folder = tmp_path_factory.mktemp("digits")
    made = bmc.train(
        "mlp", data="digits", width=16, epochs=1, device="cpu", output=folder / "teacher"
    )
    return made.to("onnx", output=folder / "teacher-onnx")


def changed(bundle: Path, folder: Path, **lineage: Any) -> Path:
    """Return a copy of a bundle whose lineage has other values."""
    shutil.copytree(bundle, folder)
    manifest = bundles.read(folder).manifest
    bundles.write(folder, replace(manifest, lineage={**manifest.lineage, **lineage}))
    return folder


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_the_logits_of_a_bundle_are_those_of_its_pipeline_and_cached_by_its_manifest(
    target: str, bundle_of: Callable[[str], Path], reviews: Dataset, tmp_path: Path
) -> None:
    folder, texts = bundle_of(target), reviews.train.rows[:70]
    digest = sha256(folder / "manifest.json")
    logits = cached_logits(load_bundle(folder), digest, texts, tmp_path, "cpu")
    with pipeline.load(folder, threads=1) as loaded:
        np.testing.assert_allclose(logits.numpy(), loaded.outputs(texts), atol=1e-5)
    (path,) = tmp_path.glob(f"teacher-{digest[:16]}/*.npy")
    before = path.stat().st_mtime_ns
    assert torch.equal(cached_logits(load_bundle(folder), digest, texts, tmp_path, "cpu"), logits)
    assert path.stat().st_mtime_ns == before


def test_a_student_of_a_bundle_records_it_and_the_data_of_its_manifest(
    bundle_of: Callable[[str], Path],
    reviews_csv: Path,
    reviews: Dataset,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = replace(NGRAM, signals="self=1")  # needs the student alone
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    made = distill.distill(str(bundle_of("onnx")), source, settings, output)
    teacher = artifact.load(made.path).origin["teacher"]
    assert teacher["name"] == "onnx"
    assert teacher["sha256"] == sha256(bundle_of("onnx") / "manifest.json")
    assert [each["fingerprint"] for each in teacher["data"]] == [reviews.fingerprint]
    said = " ".join(capfd.readouterr().err.split())
    assert f"as named (manifest {teacher['sha256'][:12]})" in said
    assert "not known whether" not in said
    assert "larger than its teacher" not in said


def test_what_a_bundle_cannot_teach_is_refused_with_what_remains(
    bundle_of: Callable[[str], Path], reviews_csv: Path, tmp_path: Path
) -> None:
    folder = bundle_of("onnx")
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    for settings, message in (
        (
            replace(NGRAM, signals="hidden=1"),
            r"hidden needs more than logits.*possible: logits, self; or name the model directory",
        ),
        (Distillation("tiny", **QUICK), r"a bundle, which has no embeddings.*start=minilm-l3"),
        (replace(NGRAM, augment_texts=1), r"this bundle has none.*swap,drop"),
    ):
        with pytest.raises(UsageError, match=message):
            distill.distill(str(folder), source, settings, output)


def test_rows_that_a_bundle_has_learned_are_refused_and_what_is_not_known_is_said(
    bundle_of: Callable[[str], Path],
    reviews: Dataset,
    reviews_csv: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    lines = [f'"{text}",{label}' for (text,), label in zip(*_rows(reviews), strict=True)]
    (tmp_path / "learned.csv").write_text("\n".join(["text,label", *lines]))
    learned = {"reference": str(tmp_path / "learned.csv"), "fingerprint": "0"}
    unknown = changed(bundle_of("onnx"), tmp_path / "unknown", data={}, teacher={"name": "large"})
    manifest = bundles.read(unknown).manifest
    bundles.write(unknown, replace(manifest, failure="2 points lost"))
    distill.distill(str(unknown), source, NGRAM, output)
    said = " ".join(capfd.readouterr().err.split())
    assert "failed a check at its export" in said
    assert ": 2 points lost" in said
    assert "its manifest does not say what it was trained on" in said
    assert "its manifest does not say what its own teacher large was trained on" in said
    data = bmc.data.load(str(tmp_path / "learned.csv"))
    known = changed(
        bundle_of("onnx"),
        tmp_path / "known",
        data={**learned, "fingerprint": data.fingerprint},
    )
    with pytest.raises(
        UsageError, match=r"was trained on \d+ of the 60 rows that are held out here"
    ):
        distill.distill(str(known), source, NGRAM, Output(tmp_path / "other"))


def _rows(reviews: Dataset) -> tuple[list[Any], list[str]]:
    parts = (reviews.test, reviews.train)
    rows = [row for part in parts for row in part.rows]
    labels = [reviews.labels[int(label)] for part in parts for label in part.labels]
    return [(row[0].replace('"', ""),) for row in rows], labels


def test_a_damaged_bundle_is_refused(
    bundle_of: Callable[[str], Path], reviews_csv: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(bundle_of("onnx"), tmp_path / "damaged")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    source = DataSource(data=str(reviews_csv))
    with pytest.raises(ArtifactError, match=r"damaged.*model\.onnx"):
        distill.distill(str(folder), source, NGRAM, Output(tmp_path / "student"))


def test_a_bundle_answers_augmented_images_and_teaches_beside_a_model_directory(
    digits_bundle: bmc.BundleHandle, tmp_path: Path
) -> None:
    source = DataSource(data="digits")
    augmented = replace(MLP, augment=("flip", "mixup"))
    made = distill.distill(str(digits_bundle.path), source, augmented, Output(tmp_path / "one"))
    losses = artifact.load(made.path).origin["history"][0]
    assert losses["training_loss_logits"] > 0
    both = [str(tmp_path / "one"), str(digits_bundle.path)]
    made = distill.distill(both, source, MLP, Output(tmp_path / "two"))
    recorded = artifact.load(made.path).origin["teacher"]
    assert [recorded["name"], recorded["more"][0]["name"]] == ["one", "teacher-onnx"]


def test_the_bundle_of_a_student_names_the_data_of_its_teacher(
    digits_bundle: bmc.BundleHandle, tmp_path: Path
) -> None:
    output = Output(tmp_path / "student")
    student = distill.distill(str(digits_bundle.path), DataSource(data="digits"), MLP, output)
    files = SampledFiles(output=tmp_path / "student-onnx")
    (bundle,) = export.export(str(student.path), ("onnx",), files=files).bundles
    (data,) = bundles.read(bundle.path).manifest.lineage["teacher"]["data"]
    digits = bmc.data.load("digits")
    assert data["fingerprint"] == digits.fingerprint
    assert not {"location", "summary"} & set(data)
    assert lineage.overlap(bundle.path, digits).unknown == ()


def test_a_generator_does_not_learn_from_a_bundle(
    digits_bundle: bmc.BundleHandle, tmp_path: Path
) -> None:
    settings = Distillation("gan", epochs=1, device="cpu")
    with pytest.raises(
        UsageError, match=r"is a bundle, which lacks the discriminator.*name the model directory"
    ):
        distill.distill(
            str(digits_bundle.path), DataSource(data="digits"), settings, Output(tmp_path / "x")
        )


def test_a_python_caller_passes_the_handle_of_a_bundle_and_of_a_trained_student(
    digits_bundle: bmc.BundleHandle, tmp_path: Path
) -> None:
    quick: dict[str, Any] = {"epochs": 1, "device": "cpu"}
    start = bmc.train("mlp", data="digits", width=8, output=tmp_path / "start", **quick)
    student = bmc.distill(digits_bundle, start, output=tmp_path / "student", **quick)
    assert student.steps == ("distill/logits",)
    assert artifact.describe(student.path)["origin"]["start"]["name"] == "start"
    tuning = {"device": "cpu"}
    pruned = bmc.prune(
        student,
        "unstructured",
        ratio=0.5,
        epochs=1,
        teacher=digits_bundle,
        tuning=tuning,
        output=tmp_path / "pruned",
    )
    assert artifact.describe(pruned.path)["origin"]["teacher"]["name"] == "teacher-onnx"


def test_logits_of_a_bundle_are_computed_again_with_another_version_of_its_runtime(
    bundle_of: Callable[[str], Path],
    reviews: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = load_bundle(bundle_of("onnx"))
    for version in ("1.0", "1.0", "2.0"):
        monkeypatch.setattr("onnxruntime.__version__", version)
        cached_logits(teacher, "0" * 64, reviews.train.rows[:3], tmp_path, "cpu")
    assert len(list(tmp_path.glob("teacher-*/*.npy"))) == 2
