"""Distillation from logits: the loss, the teacher's kept answers, and what the student learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bmc import artifact
from bmc.compress.distill.logits import Logits
from bmc.data import Dataset, Examples
from bmc.errors import SettingError
from bmc.files import sha256
from bmc.inference.form import become_inference_form
from bmc.inputs import Many
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Work
from bmc.models import bert
from bmc.training.batches import Rows
from bmc.training.loop import logits_of
from bmc.training.settings import TrainingSettings
from bmc.training.teacher_logits import CHUNK, cached_logits, write_logits
from bmc.training.work import work_for

SETTINGS = TrainingSettings(
    epochs=8, learning_rate=3e-3, batch_size=16, precision="fp32", device="cpu"
)


def test_the_soft_loss_equals_a_value_computed_by_hand() -> None:
    """T = 2, teacher 2 ln 3 and 0, so 3/4 and 1/4; student even.

    KL = 3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2) = 3/4 ln 3 - ln 2 = 0.130812; times T^2: 0.523248.
    A second row on which both agree halves the mean over rows.
    """
    step = Logits("teacher", "0", temperature=2.0)
    teacher = torch.tensor([[2 * math.log(3), 0.0], [1.0, -1.0]])
    student = torch.tensor([[0.5, 0.5], [1.0, -1.0]])
    assert step.soft_loss(student[:1], teacher[:1]).item() == pytest.approx(0.523248, abs=1e-6)
    assert step.soft_loss(student, teacher).item() == pytest.approx(0.261624, abs=1e-6)


def test_the_soft_loss_is_zero_only_where_the_student_agrees() -> None:
    step = Logits("teacher", "0", temperature=3.0)
    teacher = torch.tensor([[1.0, -2.0, 0.5]])
    assert step.soft_loss(teacher + 7, teacher).item() == pytest.approx(0, abs=1e-6)
    assert step.soft_loss(-teacher, teacher).item() > 0.1


@pytest.mark.parametrize(
    "bad", [{"temperature": 0.0}, {"temperature": -1.0}, {"hard": -0.1}, {"hard": math.nan}]
)
def test_a_setting_out_of_range_is_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(bad))):
        Logits("teacher", "0", **bad)


# kept answers


def texts_of(number: int) -> list[tuple[str, ...]]:
    return [(f"film {index}",) for index in range(number)]


def files(cache: Path) -> dict[str, tuple[int, int]]:
    """Map each chunk to what changes when it is written again."""
    return {
        f"{path.parent.name}/{path.name}": (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in cache.glob("*/*.npy")
    }


@pytest.fixture(scope="module")
def answered(
    make_lively: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, Path, Tensor]:
    """Return a teacher, a cache of its answers to two whole chunks and a bit, and the answers."""
    teacher, cache = make_lively(), tmp_path_factory.mktemp("cache")
    return teacher, cache, cached_logits(teacher, "a" * 64, texts_of(2 * CHUNK + 5), cache, "cpu")


def outputs_of(teacher: Model, texts: list[tuple[str, ...]]) -> Tensor:
    rows = Rows(texts, [-1] * len(texts), teacher.encoder)
    return logits_of(teacher.module, rows, list(range(len(texts))), "auto", "cpu")


def test_kept_answers_are_the_teachers_in_the_order_of_the_texts(
    answered: tuple[Model, Path, Tensor],
) -> None:
    teacher, _, logits = answered
    assert logits.shape == (2 * CHUNK + 5, 2)
    assert logits.dtype == torch.float32
    for start in (0, CHUNK - 4, 2 * CHUNK - 4):
        texts = texts_of(start + 8)[start:]
        expected = outputs_of(teacher, texts)
        torch.testing.assert_close(logits[start : start + 8], expected, atol=0.06, rtol=0)  # bf16
    assert logits.std() > 0.1


def test_a_quantized_teacher_answers_as_its_inference_form(
    make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    teacher = make_lively()
    become_inference_form(teacher)
    logits = cached_logits(teacher, "q" * 64, texts_of(3), tmp_path, "cpu", "fp32")
    rows = Rows(texts_of(3), [-1] * 3, teacher.encoder)
    torch.testing.assert_close(logits, logits_of(teacher.module, rows, [0, 1, 2], "fp32", "cpu"))


def test_a_longer_list_of_texts_reuses_the_whole_chunks(
    answered: tuple[Model, Path, Tensor],
) -> None:
    teacher, cache, logits = answered
    before = files(cache)
    longer = cached_logits(teacher, "a" * 64, texts_of(2 * CHUNK + 9), cache, "cpu")
    after = files(cache)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    assert torch.equal(longer[: 2 * CHUNK], logits[: 2 * CHUNK])
    assert len(longer) == 2 * CHUNK + 9


def test_kept_answers_are_read_and_not_computed_again(
    answered: tuple[Model, Path, Tensor], tmp_path: Path
) -> None:
    teacher, _, _ = answered
    created = cached_logits(teacher, "b" * 64, texts_of(3), tmp_path, "cpu")
    (path,) = tmp_path.glob("*/*.npy")
    write_logits(path, np.full((3, 2), 42, np.float32))
    assert cached_logits(teacher, "b" * 64, texts_of(3), tmp_path, "cpu").eq(42).all()
    assert not created.eq(42).any()


@pytest.mark.parametrize("damage", ["removed", "half", "empty", "garbage", "one bit"])
def test_a_chunk_that_is_missing_or_damaged_is_computed_again_and_no_other(
    answered: tuple[Model, Path, Tensor], damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    teacher, cache, logits = answered
    texts = texts_of(2 * CHUNK + 5)
    before = files(cache)
    path = max(cache.glob("*/*.npy"), key=lambda path: (path.stat().st_size, path.name))
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    elif damage == "one bit":
        turned = bytearray(content)
        turned[-40] ^= 1
        path.write_bytes(turned)
    else:
        left = {"half": content[: len(content) // 2], "empty": b"", "garbage": b"no array"}
        path.write_bytes(left[damage])
    again = cached_logits(teacher, "a" * 64, texts, cache, "cpu")
    assert torch.equal(again, logits)
    assert path.read_bytes() == content
    assert ("is damaged" in capfd.readouterr().err) == (damage != "removed")
    after = files(cache)
    assert {name for name in before if before[name] != after[name]} == {
        f"{path.parent.name}/{path.name}"
    }


def test_another_teacher_or_length_has_answers_of_its_own(
    make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    teacher = make_lively()
    cached_logits(teacher, "a" * 64, texts_of(3), tmp_path, "cpu")
    cached_logits(teacher, "c" * 64, texts_of(3), tmp_path, "cpu")
    assert len(files(tmp_path)) == 2
    whole = teacher.encoder
    assert isinstance(whole, TextEncoder)
    shorter = replace(whole.settings, max_length=8)
    teacher.encoder = TextEncoder(whole.tokenizer, shorter)
    cached_logits(teacher, "a" * 64, texts_of(3), tmp_path, "cpu")
    assert len(files(tmp_path)) == 3


# apply


@pytest.fixture
def few(reviews: Dataset) -> Dataset:
    train = Examples(reviews.train.rows[:96], reviews.train.labels[:96])
    return replace(reviews, train=train)


def step_and_work(
    folder: Path, data: Dataset, path: Path, unlabeled: Many = (), hard: float = 0.5
) -> tuple[Logits, Work]:
    step = Logits(str(folder), sha256(folder / "model.safetensors"), hard=hard)

    def load(name: str) -> Model:
        return artifact.load(Path(name))

    return step, work_for(data, unlabeled, SETTINGS, path / "run", path / "cache", load, run="")


def test_distillation_brings_the_student_nearer_to_its_teacher(
    lively_folder: Path, few: Dataset, tmp_path: Path
) -> None:
    teacher = artifact.load(lively_folder)
    student = bert.student(teacher, bert.Size(layers=1, hidden=16, heads=2), few)
    step, work = step_and_work(lively_folder, few, tmp_path, hard=0.0)
    texts = list(few.train.rows)

    def distance() -> float:
        return step.soft_loss(outputs_of(student, texts), outputs_of(teacher, texts)).item()

    before = distance()
    record = step.apply(student, work)
    assert record == {}
    assert distance() < 0.75 * before
    assert set(student.scores) == {"validation_accuracy", "best_epoch"}


def test_the_teacher_answers_training_and_transfer_texts_and_no_others(
    lively_folder: Path, few: Dataset, tmp_path: Path
) -> None:
    unlabeled = (("some film",), ("another film",))
    student = bert.student(
        artifact.load(lively_folder), bert.Size(layers=1, hidden=16, heads=2), few
    )
    step, work = step_and_work(lively_folder, few, tmp_path, unlabeled)
    assert len(few.test) > 0
    assert len(work.data.test) == 0
    step.apply(student, work)
    kept = [np.load(path) for path in (tmp_path / "cache").glob("*/*.npy")]
    assert sum(len(chunk) for chunk in kept) == len(few.train) + len(unlabeled)


def test_hard_labels_and_transfer_texts_both_change_what_is_learned(
    lively_folder: Path, few: Dataset, tmp_path: Path
) -> None:
    learned = []
    cases: tuple[tuple[float, Many], ...]
    cases = ((0.0, ()), (1.0, ()), (0.0, (("one film",),) * 40))
    for number, (hard, unlabeled) in enumerate(cases):
        torch.manual_seed(0)
        student = bert.student(
            artifact.load(lively_folder), bert.Size(layers=1, hidden=16, heads=2), few
        )
        step, work = step_and_work(lively_folder, few, tmp_path / str(number), unlabeled, hard)
        step.apply(student, work)
        learned.append(student.module.get_parameter("classifier.weight").detach())
    assert not torch.equal(learned[0], learned[1])
    assert not torch.equal(learned[0], learned[2])


def test_class_weights_and_label_smoothing_count_beside_a_teacher(
    lively_folder: Path, few: Dataset, tmp_path: Path
) -> None:
    labels = [0] * (len(few.train) - 4) + [1] * 4
    data = replace(few, train=Examples(few.train.rows, labels))
    step, learned = Logits(str(lively_folder), "0" * 64, hard=1.0), []
    model = artifact.load(lively_folder)
    batch = Rows(data.train.rows, labels, model.encoder).batch(range(len(labels)))
    logits = torch.zeros(len(labels), 2)
    logits[:, 1] = 1.0
    for settings in ({}, {"class_weights": "balanced"}, {"label_smoothing": 0.2}):
        training = replace(SETTINGS, **settings)
        work = work_for(data, (), training, tmp_path, tmp_path, lambda name: model, run="")
        learned.append(float(step.parts_of(model, work)(logits, logits, batch)["labels"]))
    plain = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    assert learned[0] == pytest.approx(float(plain), rel=1e-6)
    balanced = (
        float(torch.log1p(torch.tensor(1.0).exp()) + torch.log1p(torch.tensor(-1.0).exp())) / 2
    )
    assert learned[1] == pytest.approx(balanced, rel=1e-6)
    assert learned[2] != pytest.approx(learned[0], rel=1e-3)
