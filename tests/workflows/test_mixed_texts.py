"""Distillation with mixed texts: what is recorded, and what is refused before any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bmc import artifact
from bmc.errors import SettingError, UsageError
from bmc.model import Model
from bmc.workflows import distill, train
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.tuning import Distillation, Tuning

MIXED: dict[str, Any] = {
    **{"layers": 1, "hidden": 16, "epochs": 1, "transfer": "none", "device": "cpu"},
    **{"precision": "fp32", "augment": ("word-drop", "mixkd")},
}


def test_mixed_texts_are_learned_and_recorded_and_left_out_of_a_later_fine_tuning(
    lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    settings = Distillation("tiny", **MIXED)
    student = artifact.load(distill.distill(str(lively_folder), source, settings, output).path)
    assert student.origin["settings"]["augment"] == ["word-drop", "mixkd"]
    losses = student.origin["history"][0]
    assert losses["training_loss_logits"] > 0
    assert losses["training_loss_labels"] > 0
    cached = list((tmp_path / "runs").glob("**/teacher-*/*.npy"))
    assert len(cached) == 1  # the validation rows alone
    assert Tuning(distill=True).settings(student).augment == ("word-drop",)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"signals": "self=1"}, SettingError, r"signal self .*leave one of the two out$"),
        (
            {"signals": "hidden=1", "signal_order": "together"},
            SettingError,
            r"signal hidden .*or learn it first \(--signal-order first\)",
        ),
        ({"vocabulary": "1000"}, UsageError, r"--vocabulary 1000: the student would read other"),
    ],
)
def test_what_cannot_be_learned_from_mixtures_is_refused_before_a_teacher_is_read(
    changes: dict[str, Any], error: type[Exception], message: str, reviews_csv: Path, tmp_path: Path
) -> None:
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    with pytest.raises(error, match=message):
        distill.distill("bert", source, Distillation("tiny", **MIXED, **changes), output)


def test_mixtures_for_vectors_or_by_a_bundle_are_refused(
    bundle_of: Callable[[str], Path], reviews_csv: Path, tmp_path: Path
) -> None:
    settings, output = Distillation("tiny", **MIXED), Output(tmp_path / "student")
    source = DataSource(data=str(reviews_csv))
    vectors = DataSource(data=str(reviews_csv), task="embedding")
    with pytest.raises(UsageError, match=r"sentence embeddings learns vectors: leave mixkd out"):
        distill.distill("bert", vectors, settings, output)
    with pytest.raises(UsageError, match=r"is a bundle, which takes token ids.*leave mixkd out"):
        distill.distill(str(bundle_of("onnx")), source, settings, output)


def test_a_student_of_shorter_texts_is_refused_before_its_teacher_is_trained(
    reviews_csv: Path, workspace: Path
) -> None:
    shorter = {"max_length": "64"}
    settings = Distillation("transformer", settings=shorter, augment=("mixkd",), transfer="none")
    with pytest.raises(
        UsageError, match=r"teacher textcnn reads other tokens.*\(tiny, mini, small"
    ):
        distill.distill("textcnn", DataSource(data=str(reviews_csv)), settings)
    assert not list(workspace.glob("textcnn*"))


def test_a_student_with_n_grams_is_refused_before_it_is_pretrained(
    lively_folder: Path, reviews_csv: Path, workspace: Path
) -> None:
    settings = Distillation("tiny", **MIXED, settings={"ngrams": "64"}, pretrain=1)
    with pytest.raises(UsageError, match=r"has n-grams of tokens, which cannot be mixed"):
        distill.distill(str(lively_folder), DataSource(data=str(reviews_csv)), settings)
    assert not list(workspace.glob("**/masked-*"))


def test_training_without_a_teacher_refuses_mixtures(reviews_csv: Path) -> None:
    source, recipe = DataSource(data=str(reviews_csv)), {"augment": ("mixkd",)}
    with pytest.raises(UsageError, match=r"bmc train has no teacher: take bmc distill"):
        train.train("transformer", source, {}, recipe)
    with pytest.raises(UsageError, match=r"bmc train has no teacher"):
        train.cross_validate("transformer", source, {}, recipe, Output(), 2)


def test_signals_are_learned_from_texts_as_they_are_before_mixtures(
    lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    settings = Distillation("tiny", signals="relation=1", **MIXED)
    student: Model = artifact.load(
        distill.distill(str(lively_folder), source, settings, output).path
    )
    assert [step.method for step in student.steps] == ["distill/weighted", "distill/logits"]
