"""Distillation: what a student starts from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bmc import artifact
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.compress.distill.logits import Logits
from bmc.compress.distill.masked import Masked
from bmc.compress.distill.weighted import Weighted
from bmc.data import Dataset
from bmc.errors import DataError, SettingError, UnknownError, UsageError
from bmc.folds import Fold
from bmc.measure import scores
from bmc.model import Model, Step
from bmc.models import bert
from bmc.rendering import models as rendering
from bmc.training.settings import TrainingSettings
from bmc.workflows import distill, show, students, train
from bmc.workflows.data import DataSource, StudentsData
from bmc.workflows.named_teachers import data_of
from bmc.workflows.options import Output
from bmc.workflows.preparation import with_preparation
from bmc.workflows.scoring import outputs_on
from bmc.workflows.tuning import Distillation


def test_a_students_fresh_weights_depend_on_the_seed_and_the_teacher_alone(
    make_lively: Callable[..., Model], reviews: Dataset, tmp_path: Path
) -> None:
    folder = artifact.save(make_lively(), tmp_path / "teacher")
    size = bert.Size(layers=1, hidden=16, heads=2)
    teacher = artifact.load(folder)
    torch.manual_seed(3)
    expected = bert.student(teacher, size, reviews).module.state_dict()
    chosen = students.choose("tiny", asdict(size))
    student = students.untrained(chosen, artifact.load(folder), reviews, seed=3)
    assert all(
        torch.equal(value, expected[name]) for name, value in student.module.state_dict().items()
    )


def test_a_student_has_the_classes_of_the_data_in_the_datas_order(
    make_lively: Callable[..., Model], reviews: Dataset
) -> None:
    turned = replace(reviews, labels=tuple(reversed(reviews.labels)))
    chosen = students.choose("tiny", {"layers": 1, "hidden": 16})
    student = students.untrained(chosen, make_lively(), turned, seed=0)
    assert student.labels == turned.labels
    assert student.spec["id2label"] == {"0": "positive", "1": "negative"}


def test_a_student_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownError, match=r"no student named 'tinny'.*'tiny'"):
        students.choose("tinny", {})


def test_a_student_without_a_setting_is_refused_with_those_it_has() -> None:
    with pytest.raises(UnknownError, match=r"setting of mlp.*width"):
        students.choose("mlp", {"widht": 1})


def test_a_student_of_another_kind_of_data_is_refused(
    make_lively: Callable[..., Model], reviews: Dataset
) -> None:
    digits = datasets.load("digits")
    with pytest.raises(DataError, match=r"tiny takes text or words; 'digits' holds image"):
        students.untrained(students.choose("tiny", {}), make_lively(), digits, seed=0)
    with pytest.raises(DataError, match=r"cnn takes image"):
        students.untrained(students.choose("cnn", {}), make_lively(), reviews, seed=0)


def test_any_model_that_can_be_trained_learns_from_any_teacher_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path))
    width = {"width": "16"}
    settings = Distillation("mlp", settings=width, epochs=1, device="cpu", precision="fp32")
    source = DataSource(data="digits")
    teacher = tmp_path / "teacher"
    quick = {"epochs": 1, "device": "cpu"}
    train.train("cnn", source, {"width": "4", "hidden": "8"}, quick, Output(teacher))
    result = distill.distill(str(teacher), source, settings, Output(tmp_path / "student"))
    student = artifact.load(result.path)
    assert (student.family, student.steps[0].method) == ("mlp", "distill/logits")
    assert student.origin["student_settings"]["width"] == 16


@pytest.mark.parametrize(
    ("order", "methods"),
    [("first", ["distill/weighted", "distill/logits"]), ("together", ["distill/weighted"])],
)
def test_signals_are_learned_before_the_logits_or_together_with_them(
    order: str, methods: list[str], lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    settings = Distillation(
        layers=1,
        hidden=16,
        signals="relation=1,hidden=0.5",
        signal_order=order,
        epochs=1,
        transfer="none",
        device="cpu",
        precision="fp32",
    )
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    result = distill.distill(str(lively_folder), source, settings, output)
    student = artifact.load(result.path)
    assert [each.method for each in student.steps] == methods
    weights = student.steps[0].settings["weights"]
    assert weights == {"relation": 1.0, "hidden": 0.5} | (
        {"logits": 1.0} if order == "together" else {}
    )


def test_a_students_vocabulary_is_pruned_before_it_is_taught(
    lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    settings = Distillation(
        layers=1, hidden=16, vocabulary="2500", epochs=1, transfer="none", device="cpu"
    )
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    student = artifact.load(distill.distill(str(lively_folder), source, settings, output).path)
    assert [each.method for each in student.steps] == ["prune/vocabulary", "distill/logits"]
    words = student.module.get_submodule("bert.embeddings.word_embeddings")
    assert isinstance(words, torch.nn.Embedding)
    assert words.num_embeddings == 2500


def test_signals_are_learned_on_the_teachers_tokens() -> None:
    """What two networks compute for each token can be compared if they read the same tokens."""
    signals, logits = Weighted("teacher", "", {"hidden": 1.0}), Logits("teacher", "")
    steps: list[tuple[str, Step]] = [("distill/weighted", signals), ("distill/logits", logits)]
    prepared = with_preparation(steps, Distillation(vocabulary="auto"), TrainingSettings())
    methods = [method for method, _ in prepared]
    assert methods == ["distill/weighted", "prune/vocabulary", "distill/logits"]
    assert with_preparation(steps, Distillation(), TrainingSettings()) == steps


def test_a_vocabulary_that_is_no_number_is_refused() -> None:
    with pytest.raises(SettingError, match="vocabulary is 'small'; possible: keep, auto"):
        Distillation(vocabulary="small")


@pytest.fixture
def digit_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return two models that were trained on digits for one epoch."""
    monkeypatch.setenv("BMC_HOME", str(tmp_path))
    source, quick = DataSource(data="digits"), {"epochs": 1, "device": "cpu"}
    for name, options in (("cnn", {"width": "4", "hidden": "8"}), ("mlp", {"width": "8"})):
        train.train(name, source, options, quick, Output(tmp_path / name))
    return [str(tmp_path / "cnn"), str(tmp_path / "mlp")]


def taught(teacher: str | list[str], output: Path, **settings: Any) -> Model:
    quick = Distillation(
        "mlp", settings={"width": 16}, epochs=1, device="cpu", precision="fp32", **settings
    )
    made = distill.distill(teacher, DataSource(data="digits"), quick, Output(output))
    return artifact.load(made.path)


def test_a_student_of_several_teachers_records_all_and_their_data(
    digit_teachers: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    student = taught(",".join(digit_teachers), tmp_path / "student", teacher_weights="validation")
    recorded = student.origin["teacher"]
    assert recorded["name"] == "cnn"
    assert [each["name"] for each in recorded["more"]] == ["mlp"]
    assert [each["reference"] for each in recorded["data"]] == ["digits"]
    settings = student.steps[0].settings
    assert (settings["weighting"], len(settings["more_teachers"])) == ("validation", 1)
    assert "weights of the teachers, by" in capfd.readouterr().err
    shown = show.show(str(tmp_path / "student"))
    assert isinstance(shown, show.MadeModel)
    assert shown.teacher
    assert [name for name, _ in shown.teacher.more] == ["mlp"]


def test_a_students_agreement_and_calibration_stand_beside_its_teachers(
    digit_teachers: list[str], tmp_path: Path
) -> None:
    quick = Distillation("mlp", settings={"width": 16}, epochs=1, device="cpu", precision="fp32")
    source, output = DataSource(data="digits"), Output(tmp_path / "student")
    made = distill.distill(digit_teachers[0], source, quick, output)
    student, teacher = artifact.load(made.path), artifact.load(tmp_path / "cnn")
    validation = source.load().validation
    logits, expected = (outputs_on(model, validation) for model in (student, teacher))
    labels = np.array(validation.labels)
    measured = student.origin["teacher"]["validation"]
    same = (logits.argmax(1) == expected.argmax(1)).mean()
    assert measured["agreement"]["value"] == pytest.approx(same, abs=0.02)  # bf16
    errors = [scores.calibration_error(each, labels) for each in (logits, expected)]
    assert [measured["calibration_error"], measured["teacher_calibration_error"]] == pytest.approx(
        errors, abs=0.02
    )
    line = rendering.against_teacher(made.against_teacher)[0]
    assert f"calibration error {measured['calibration_error']:.3f}, teacher" in line
    assert rendering.against_teacher({}) == ()


def test_a_teacher_named_twice_or_not_at_all_is_refused(
    digit_teachers: list[str], tmp_path: Path
) -> None:
    first, _ = digit_teachers
    with pytest.raises(UsageError, match="names a teacher twice"):
        taught([first, first], tmp_path / "student")
    with pytest.raises(UsageError, match="have the same weights"):
        taught([first, f"{first}/"], tmp_path / "student")
    with pytest.raises(UsageError, match="has an empty name"):
        taught(f"{first},", tmp_path / "student")


def test_mixed_images_are_learned_and_recorded(digit_teachers: list[str], tmp_path: Path) -> None:
    plain = taught(digit_teachers[0], tmp_path / "plain", augment=())
    mixed = taught(digit_teachers[0], tmp_path / "mixed", augment=("flip", "mixup", "cutmix"))
    augments = [each.origin["settings"]["augment"] for each in (plain, mixed)]
    assert augments == [[], ["flip", "mixup", "cutmix"]]
    losses = [each.origin["history"][0]["training_loss_labels"] for each in (plain, mixed)]
    assert losses[0] != losses[1]


def test_augmentations_that_the_data_or_a_signal_cannot_have_are_refused_before_a_teacher_is_read(
    reviews_csv: Path, tmp_path: Path
) -> None:
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    with pytest.raises(DataError, match=r"mixup is for images.*leave mixup out of augment"):
        distill.distill("bert", source, Distillation(augment=("mixup",)), output)
    settings = Distillation("cnn", signals="self=1", augment=("cutmix",))
    with pytest.raises(SettingError, match=r"self compares a row with itself.*leave cutmix out"):
        distill.distill("cnn", DataSource(data="digits"), settings, output)


def test_a_student_of_text_reads_swapped_words_and_its_teacher_does_not(
    lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    augment = ("word-swap", "word-drop")
    settings = Distillation("tiny", 1, 16, augment=augment, epochs=1, transfer="none", device="cpu")
    student = artifact.load(distill.distill(str(lively_folder), source, settings, output).path)
    assert student.origin["settings"]["augment"] == list(augment)
    cached = list((tmp_path / "runs").glob("**/teacher-*/*.npy"))
    assert len(cached) == 2  # training and validation rows, once


def test_a_student_of_an_assistant_records_the_data_of_the_assistants_teacher(
    digit_teachers: list[str], tmp_path: Path
) -> None:
    assistant, student = tmp_path / "assistant", tmp_path / "student"
    taught(digit_teachers[0], assistant)
    described = artifact.describe(assistant)
    foreign = {"reference": "elsewhere", "fingerprint": "f" * 64}
    described["origin"]["teacher"]["data"].append(foreign)
    (assistant / "bmc.json").write_text(json.dumps(described))
    recorded = taught(str(assistant), student).origin["teacher"]
    assert recorded["name"] == "assistant"
    assert [each["reference"] for each in recorded["data"]] == ["digits", "elsewhere"]


def test_a_student_is_pretrained_on_the_tokens_that_it_keeps() -> None:
    settings = Distillation(vocabulary="auto", pretrain=2, seed=5)
    logits: list[tuple[str, Step]] = [("distill/logits", Logits("teacher", ""))]
    training = TrainingSettings(learning_rate=2e-3, batch_size=64)
    prepared = dict(with_preparation(logits, settings, training, "start"))
    assert list(prepared) == ["prune/vocabulary", "distill/masked", "distill/logits"]
    assert prepared["distill/masked"] == Masked(2, 2e-3, 64, "start", 5)


def test_a_negative_number_of_epochs_of_pretraining_is_refused() -> None:
    with pytest.raises(SettingError, match="pretrain is -1"):
        Distillation(pretrain=-1)


def test_a_vocabulary_that_is_cut_after_the_last_training_is_refused() -> None:
    signals = {"hidden": 1.0, "logits": 1.0}
    steps: list[tuple[str, Step]] = [("distill/weighted", Weighted("teacher", "", signals))]
    settings, training = Distillation(vocabulary="5000"), TrainingSettings()
    with pytest.raises(UsageError, match="--signal-order first"):
        with_preparation(steps, settings, training)
    both = [*steps, ("distill/logits", Logits("teacher", ""))]
    assert [name for name, _ in with_preparation(both, settings, training)] == [
        *("distill/weighted", "prune/vocabulary", "distill/logits")
    ]


def test_the_students_data_is_the_teachers_where_none_is_named(
    model_folder: Path, reviews_csv: Path
) -> None:
    recorded = data_of(f"{model_folder},other")
    assert recorded["reference"] == str(reviews_csv)
    source = StudentsData().beside({**recorded, "fold": [2, 5]})
    assert (source.data, source.fold) == (str(reviews_csv), Fold(2, 5))
    named = StudentsData(data="imdb", label_column="stars").beside({**recorded, "fold": [2, 5]})
    assert (named.data, named.fold, named.label_column) == ("imdb", None, "stars")
    assert data_of("bert") == {}
    assert StudentsData().beside({}) == DataSource()


def test_a_student_does_not_learn_from_the_file_that_a_bundle_names_unless_the_user_does(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = str(bundle_of("onnx"))
    with pytest.raises(UsageError, match=r"is a bundle, and what .* name the student's data"):
        data_of(bundle)
    assert data_of(bundle, "reviews.csv")["label_column"] == "label"
    copied = Path(shutil.copytree(bundle, tmp_path / "copied"))
    manifest = bundles.read(copied).manifest
    claimed = {"reference": "movie-reviews", "location": "hf:some/data"}
    bundles.write(copied, replace(manifest, lineage={**manifest.lineage, "data": claimed}))
    assert StudentsData().beside(data_of(str(copied))).data == "movie-reviews"


def test_a_student_learns_with_another_dropout_and_keeps_its_own(
    digit_teachers: list[str], tmp_path: Path
) -> None:
    made = []
    for chance in (None, 0.0):
        options = {"width": "4", "hidden": "8", "dropout": "0.5"}
        settings = Distillation("cnn", settings=options, epochs=1, device="cpu", dropout=chance)
        output, source = Output(tmp_path / f"student-{chance}"), DataSource(data="digits")
        made.append(
            artifact.load(distill.distill(digit_teachers[0], source, settings, output).path)
        )
    weights = [model.module.get_parameter("output.weight") for model in made]
    assert not torch.equal(*weights)
    for model in made:
        layer = model.module.get_submodule("dropout")
        assert isinstance(layer, torch.nn.Dropout)
        assert layer.p == 0.5
    with pytest.raises(SettingError, match=r"dropout is 1\.0; it must lie in \[0, 1\)"):
        Distillation(dropout=1.0)
