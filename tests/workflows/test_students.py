"""Checkpoints and model directories as students: taught as they are, or refused with a reason."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bmc import artifact
from bmc import data as datasets
from bmc.compress.quantize.static import Static
from bmc.data import Dataset, Examples
from bmc.errors import ArtifactError, AssetError, SettingError, UnknownError, UsageError
from bmc.model import AppliedStep, Model
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows import baselines, distill, student_folders, students
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.tuning import Distillation
from tests.models import _encoders

Make = Callable[..., Model]
QUICK: dict[str, Any] = {"epochs": 1, "transfer": "none", "device": "cpu", "precision": "fp32"}


@pytest.fixture
def other_tokens(hf_folder: Path, tmp_path: Path) -> Path:
    """Return the Hugging Face folder with a tokenizer that keeps upper case."""
    folder = tmp_path / "cased"
    folder.mkdir()
    for path in hf_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    content = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    return folder


def test_a_model_directory_is_taught_from_its_own_weights_and_keeps_its_steps(
    make_lively: Make, lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    start = make_lively()
    start.steps = [AppliedStep("distill/logits", {}, {}, 0, 1.0)]
    start.data = artifact.describe(lively_folder)["data"]
    folder = artifact.save(start, tmp_path / "start")
    settings = Distillation(student=str(folder), learning_rate=1e-9, **QUICK)
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    student = artifact.load(distill.distill(str(lively_folder), source, settings, output).path)
    assert [step.method for step in student.steps] == ["distill/logits", "distill/logits"]
    assert student.origin["start"]["name"] == "start"
    for name, value in student.module.state_dict().items():
        torch.testing.assert_close(value, start.module.state_dict()[name], atol=1e-6, rtol=0)


def test_a_student_is_found_by_its_name_in_the_workspace(
    lively_folder: Path, reviews_csv: Path, workspace: Path, tmp_path: Path
) -> None:
    shutil.copytree(lively_folder, workspace / "small-reviews")
    assert students.choose("small-reviews", {}).reference == str(workspace / "small-reviews")
    with pytest.raises(UnknownError, match=r"no student named 'small-review'.*'small-reviews'"):
        students.choose("small-review", {})
    with pytest.raises(SettingError, match="student is 'small-review'; possible: "):
        Distillation(student="small-review")
    settings = Distillation(student="small-reviews", learning_rate=1e-9, **QUICK)
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    start = artifact.load(distill.distill(str(lively_folder), source, settings, output).path)
    assert start.origin["start"]["name"] == "small-reviews"


def test_a_bundle_as_a_student_is_refused_with_the_way_out(
    bundle_of: Callable[[str], Path], workspace: Path
) -> None:
    shutil.copytree(bundle_of("onnx"), workspace / "some-bundle")
    for name in (str(bundle_of("onnx")), "some-bundle"):
        settings = Distillation(student=name)
        with pytest.raises(UsageError, match=r"is a bundle, which cannot be trained: name the mo"):
            students.choose(settings.student, {})


def test_a_checkpoint_reads_its_own_tokens_and_says_that_logits_are_all_it_can_learn(
    make_lively: Make, other_tokens: Path, reviews: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = make_lively()
    chosen = students.choose(str(other_tokens), {"max_length": 32})
    student = students.untrained(chosen, teacher, reviews, seed=0)
    assert student.labels == reviews.labels
    students.say_differences(student, teacher)
    assert "reads other tokens than its teacher" in capsys.readouterr().err


def test_a_student_over_word_vectors_knows_the_words_of_the_unlabeled_texts(
    lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("film 1 0\nfine -1 0\nzyzzyva 0 1\n")
    texts = tmp_path / "texts.txt"
    texts.write_text("a zyzzyva of a film\nno other text\n")
    settings = Distillation(
        student="textcnn",
        settings={"vectors": str(vectors), "filters": "4"},
        **{**QUICK, "transfer": str(texts)},
    )
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    student: Any = artifact.load(distill.distill(str(lively_folder), source, settings, output).path)
    assert "zyzzyva" in student.encoder.tokenizer.encode("Zyzzyva").tokens
    assert student.spec["embedding"] == 2
    assert students.choose(str(tmp_path / "student"), {}).recipe.epochs == 3
    assert students.choose(str(tmp_path / "student"), {}).recipe.learning_rate == 2.5e-3


def test_word_vectors_have_another_recipe_where_a_teacher_teaches(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("film 1 0\n")
    options = {"vectors": str(vectors)}
    alone = baselines.choose("lstm", options).recipe
    taught = students.choose("lstm", options).recipe
    assert (alone.epochs, taught.epochs) == (8, 3)
    assert baselines.choose("lstm", {}).recipe == students.choose("lstm", {}).recipe


def test_signals_that_other_tokens_rule_out_are_refused_with_those_that_remain(
    other_tokens: Path, lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    settings = Distillation(student=str(other_tokens), signals="hidden=1", **QUICK)
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    with pytest.raises(UsageError, match=r"they read other tokens\); possible: logits"):
        distill.distill(str(lively_folder), source, settings, output)


def test_a_student_larger_than_its_teacher_is_noted(
    make_lively: Make, reviews: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = make_lively()
    small = students.choose("tiny", {"layers": 1, "hidden": 16})
    students.say_differences(students.untrained(small, teacher, reviews, seed=0), teacher)
    assert "larger" not in capsys.readouterr().err
    large = students.choose("tiny", {"layers": 3, "hidden": 32, "start": "embeddings"})
    students.say_differences(students.untrained(large, teacher, reviews, seed=0), teacher)
    assert "the student is larger than its teacher: 1," in capsys.readouterr().err


def test_a_checkpoint_without_a_tokenizer_is_refused(
    make_lively: Make, hf_folder: Path, reviews: Dataset, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((hf_folder / name).read_bytes())
    with pytest.raises(ArtifactError, match=r"has no tokenizer: save it next to the model"):
        students.untrained(students.choose(str(bare), {}), make_lively(), reviews, seed=0)


def test_a_checkpoint_that_cannot_be_downloaded_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(AssetError, match="download it elsewhere and name its folder"):
        students.choose("hf:nobody/no-such-model", {})


def test_a_model_directory_has_no_settings(lively_folder: Path) -> None:
    with pytest.raises(UnknownError, match=r"setting of .*lively named 'layers'"):
        students.choose(str(lively_folder), {"layers": 1})


def test_a_model_directory_with_other_classes_is_refused(
    make_lively: Make, lively_folder: Path, reviews: Dataset
) -> None:
    data = replace(reviews, labels=("bad", "good"))
    with pytest.raises(UsageError, match=r"predicts negative, positive; the data here has bad, g"):
        students.untrained(students.choose(str(lively_folder), {}), make_lively(), data, seed=0)


def test_a_model_directory_for_another_task_or_kind_of_data_is_refused(
    make_lively: Make, lively_folder: Path, reviews: Dataset
) -> None:
    chosen = students.choose(str(lively_folder), {})
    numbers = replace(reviews, task="regression", labels=())
    with pytest.raises(UsageError, match="is for classification; the data here has regression"):
        students.untrained(chosen, make_lively(), numbers, seed=0)
    with pytest.raises(UsageError, match="takes text; the data here has image"):
        students.untrained(chosen, make_lively(), datasets.load("digits"), seed=0)


def test_a_quantized_model_directory_is_refused(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    model = make_lively()

    def never(reference: str) -> Model:
        raise AssertionError(reference)

    work = work_for(reviews, (), TrainingSettings(), tmp_path, tmp_path, never, run="")
    step = Static(samples=8)
    model.steps = [AppliedStep("quantize/static", {}, step.apply(model, work), 0, 1.0)]
    folder = artifact.save(model, tmp_path / "quantized")
    with pytest.raises(UsageError, match="is quantized, which comes last"):
        students.untrained(students.choose(str(folder), {}), make_lively(), reviews, seed=0)


def _learned(parts: Sequence[Examples], reviews: Dataset, model: Model, folder: Path) -> Path:
    """Save a model that records these rows, in a table, as its training data."""
    table = folder / "learned.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for part in parts:
            for (text,), label in zip(part.rows, part.labels, strict=True):
                writer.writerow([text, reviews.labels[int(label)]])
    model.data = {
        "reference": str(table),
        "text_columns": ["text"],
        "label_column": "label",
        "fingerprint": datasets.load(str(table)).fingerprint,
    }
    return artifact.save(model, folder / "learned")


def test_a_model_directory_that_has_learned_held_out_rows_is_refused(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    """The rows that are held out here are rows that it was trained on."""
    folder = _learned((reviews.test, reviews.train), reviews, make_lively(), tmp_path)
    with pytest.raises(UsageError, match=r"was trained on \d+ of the 60 rows"):
        students.untrained(students.choose(str(folder), {}), make_lively(), reviews, seed=0)


def test_a_model_directory_that_has_learned_validation_rows_is_noted(
    make_lively: Make, reviews: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = _learned((reviews.validation,), reviews, make_lively(), tmp_path)
    students.untrained(students.choose(str(folder), {}), make_lively(), reviews, seed=0)
    assert (
        "was trained on 20 of the 30 validation rows: their score will be too high"
        in capfd.readouterr().err
    )
    (tmp_path / "learned.csv").unlink()
    students.untrained(students.choose(str(folder), {}), make_lively(), reviews, seed=0)
    assert "not known whether the student" in capfd.readouterr().err


def test_a_student_that_is_taught_again_and_again_keeps_the_recipe_of_what_it_was_built_as(
    make_lively: Make, tmp_path: Path
) -> None:
    origins: list[dict[str, Any]] = [{"student": "tiny", "student_settings": {"layers": 2}}]
    recipes = []
    for number in range(3):
        model = make_lively()
        model.origin = {"command": "distill", **origins[-1]}
        folder = artifact.save(model, tmp_path / f"generation-{number}")
        chosen = students.choose(str(folder), {})
        recipes.append(chosen.recipe)
        taught = {"student": str(folder), "student_settings": {}}
        origins.append({**taught, **student_folders.start_of(chosen)})
    assert recipes[0].batch_size == 128
    assert recipes[1:] == recipes[:1] * 2
    assert [origin["start"]["built"] for origin in origins[1:]] == origins[:1] * 3


def test_the_files_of_the_folder_that_a_student_starts_from_are_in_its_identity(
    tmp_path: Path,
) -> None:
    folder = _encoders.saved("distilbert", tmp_path / "mine")
    chosen = students.choose("tiny", {"start": str(folder)})
    student = _encoders.small("distilbert")
    before = students.identity(chosen, student)
    assert students.identity(chosen, student) == before
    (folder / "model.safetensors").write_bytes(b"trained further")
    assert students.identity(chosen, student) != before
