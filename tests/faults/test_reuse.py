"""Nothing is reused by its name alone: teachers, outputs, and what the next verb finds of them."""

from __future__ import annotations

import csv
import importlib
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer

from bmc import artifact, cli
from bmc import data as datasets
from bmc.contracts import families
from bmc.inputs.text import TextEncoder
from bmc.model import AppliedStep, Model
from bmc.models import bert
from bmc.training import epochs
from bmc.training.batches import Rows
from bmc.training.checkpoint import Progress
from bmc.training.identity import structure_of
from bmc.training.loop import logits_of
from bmc.training.teacher_logits import cached_logits
from bmc.training.work import mean_and_scale
from tests.cli._refusals import Run, edit, refused

QUICK = ("--epochs", 1, "--device", "cpu")
SMALL = ("--layers", 1, "--hidden", 16, "--heads", 2, "--transfer", "none", "--batch-size", 16)
FILLER = ["the", "film", "has", "a", "story", "with", "people", "and", "music", "in", "it"]
WORDS = {"good": ("warm", "bright", "clever"), "bad": ("dull", "flat", "stale")}


def sentences(count: int, swap: bool = False, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Return reviews whose class is decided by one word; `swap` turns the labels round."""
    draw = random.Random(seed)
    for number in range(count):
        label, other = ("good", "bad") if number % 2 else ("bad", "good")
        words = [*draw.choices(FILLER, k=4), draw.choice(WORDS[label]), str(draw.randrange(10**6))]
        yield " ".join(words), other if swap else label


def table(path: Path, rows: Sequence[Sequence[object]], label: str = "label") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", label), *rows])
    return path


@pytest.fixture
def january(tmp_path: Path) -> Path:
    return table(tmp_path / "jan" / "reviews.csv", list(sentences(80)))


@pytest.fixture
def february(tmp_path: Path) -> Path:
    """Return other reviews of the same file name, with the labels turned round."""
    return table(tmp_path / "feb" / "reviews.csv", list(sentences(80, swap=True, seed=1)))


@pytest.fixture
def make_teacher(make_lively: Callable[..., Model]) -> Callable[..., Path]:
    """Return a function that writes a small BERT as if it were trained on some data."""

    def make(output: Path, path: Path, origin: dict[str, Any] | None = None, **load: Any) -> Path:
        data = datasets.load(str(path), **load)
        copied = make_lively()
        copied.labels = data.labels
        copied.data = {
            "reference": str(path),
            "text_columns": ["text"],
            "label_column": "label",
            "task": data.task,
            "fold": [load["fold"].number, load["fold"].of] if "fold" in load else None,
            "fingerprint": data.fingerprint,
        }
        copied.origin = origin or {"command": "train"}
        return artifact.save(copied, output)

    return make


@pytest.fixture
def quick_bert(make_lively: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the baseline bert be a small one that is trained for one epoch."""

    def baseline(reference: str, data: datasets.Dataset, settings: object) -> Model:
        copied = make_lively()
        copied.labels, copied.task = data.labels, data.task
        return copied

    described = families.family("bert")
    recipe = replace(described.recipe("bert"), epochs=1, device="cpu", precision="fp32")
    quick = replace(described, recipe=lambda name: recipe)
    monkeypatch.setattr("bmc.families.bert.FAMILY", quick)
    monkeypatch.setattr(bert, "NETWORK", replace(bert.NETWORK, baseline=baseline))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small perceptron that was trained on digits at the command line."""
    folder = tmp_path_factory.mktemp("trained") / "mlp"
    options = ("--set", "width=32", "--epochs", "2", "--precision", "fp32", "--device", "cpu")
    assert cli.run(["train", "mlp", "--data", "digits", *options, "-o", str(folder)]) == 0
    return folder


@pytest.fixture
def known(trained: Path, workspace: Path) -> Path:
    """Put that model into the test's workspace."""
    return shutil.copytree(trained, workspace / "mlp")


def origin_of(folder: Path) -> dict[str, Any]:
    origin: dict[str, Any] = artifact.describe(folder)["origin"]
    return origin


# A baseline's name


@pytest.mark.usefixtures("quick_bert")
def test_a_teacher_of_other_data_of_the_same_file_name_is_not_used(
    bmc: Run, january: Path, february: Path, workspace: Path, tmp_path: Path
) -> None:
    first = ("distill", "--teacher", "bert", *SMALL, *QUICK, "--data", january)
    code, _, err = bmc(*first, "-o", tmp_path / "one")
    assert code == 0, err
    second = ("distill", "--teacher", "bert", *SMALL, *QUICK, "--data", february)
    code, _, err = bmc(*second, "-o", tmp_path / "two")
    assert code == 0, err
    fingerprint = datasets.load(str(february)).fingerprint
    entry = workspace / f"bert-reviews-{fingerprint[:6]}"
    assert f"{workspace / 'bert-reviews'} is not used as the teacher: " in err
    assert "trained on other data" in err
    assert f"training it first, into {entry}" in err
    taught_by = origin_of(tmp_path / "two")["teacher"]
    assert (taught_by["name"], taught_by["chosen"]) == (entry.name, "trained")
    assert [record["fingerprint"] for record in taught_by["data"]] == [fingerprint]
    code, _, err = bmc(*second, "-o", tmp_path / "three")
    assert code == 0, err
    assert "training it first" not in err
    assert f"teacher: {entry}, trained on this data" in err
    assert origin_of(tmp_path / "three")["teacher"]["chosen"] == "found"


@pytest.mark.usefixtures("quick_bert")
def test_a_file_that_was_written_anew_gets_a_teacher_of_its_own(
    bmc: Run, january: Path, workspace: Path, tmp_path: Path
) -> None:
    command = ("distill", "--teacher", "bert", *SMALL, *QUICK, "--data", january)
    assert bmc(*command, "-o", tmp_path / "one")[0] == 0
    table(january, list(sentences(80, swap=True)))
    code, _, err = bmc(*command, "-o", tmp_path / "two")
    assert code == 0, err
    assert origin_of(tmp_path / "two")["teacher"]["name"].startswith("bert-reviews-")


@pytest.mark.usefixtures("quick_bert")
def test_a_compressed_model_of_the_teachers_name_is_not_used(
    bmc: Run, january: Path, workspace: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    make_teacher(workspace / "bert-reviews", january, {"command": "prune", "baseline": "bert"})
    make_teacher(workspace / "bert", january, {"command": "train", "baseline": "mpnet"})
    command = ("distill", "--teacher", "bert", *SMALL, *QUICK, "--data", january)
    code, _, err = bmc(*command, "-o", tmp_path / "one")
    assert code == 0, err
    assert "it was made by bmc prune" in err
    assert "it was trained from mpnet" in err
    assert origin_of(tmp_path / "one")["teacher"]["name"].startswith("bert-reviews-")


def test_a_teacher_trained_with_other_settings_is_used_and_they_are_said(
    bmc: Run, january: Path, workspace: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    origin = {"command": "train", "baseline": "bert", "settings": {"epochs": 1, "seed": 9}}
    make_teacher(workspace / "bert-reviews", january, origin)
    command = ("distill", "--teacher", "bert", *SMALL, *QUICK, "--data", january)
    code, _, err = bmc(*command, "-o", tmp_path / "one")
    assert code == 0, err
    assert "trained on this data with epochs 1 (default " in err
    assert "seed" not in err


def test_both_names_taken_by_other_models_is_refused_before_any_training(
    bmc: Run, january: Path, workspace: Path, make_teacher: Callable[..., Path]
) -> None:
    fingerprint = datasets.load(str(january)).fingerprint
    for name in ("bert-reviews", f"bert-reviews-{fingerprint[:6]}"):
        make_teacher(workspace / name, january, {"command": "share"})
    command = ("distill", "--teacher", "bert", *SMALL, *QUICK, "--data", january)
    refused(bmc(*command), "neither is a bert trained on reviews", "--teacher")


# A teacher that was named


def distill(bmc: Run, teacher: Path, data: Path, output: Path, *more: object) -> tuple[Any, ...]:
    options = (*SMALL, "--device", "cpu", "--data", data, "-o", output)
    epochs = () if "--epochs" in more else ("--epochs", 1)
    return bmc("distill", "--teacher", teacher, *options, *epochs, *more)


def test_a_named_teacher_that_learned_other_rows_is_used_and_recorded(
    bmc: Run, january: Path, february: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    teacher = make_teacher(tmp_path / "elsewhere", january)
    code, _, err = distill(bmc, teacher, february, tmp_path / "student")
    assert code == 0, err
    assert f"teacher: {teacher}, as named" in err
    taught_by = origin_of(tmp_path / "student")["teacher"]
    assert taught_by["chosen"] == "named"
    assert taught_by["data"][0]["fingerprint"] == datasets.load(str(january)).fingerprint


@pytest.mark.parametrize("kind", ["subset", "shuffled", "superset", "upper case", "fold"])
def test_a_named_teacher_that_learned_held_out_rows_is_refused_before_any_work(
    kind: str, bmc: Run, january: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    rows = list(sentences(80))
    load: dict[str, Any] = {}
    other = tmp_path / "other.csv"
    if kind == "subset":
        table(other, rows[:50])
    elif kind == "shuffled":
        table(other, random.Random(1).sample([*rows, *sentences(30, seed=6)], 110))
    elif kind == "superset":
        table(other, [*rows, *sentences(80, seed=5)])
    elif kind == "upper case":
        table(other, [(f" {text.upper()}", label) for text, label in rows[:60]])
    else:
        table(other, rows)
        load["fold"] = datasets.Fold(3, 5)
    teacher = make_teacher(tmp_path / "elsewhere", other, **load)
    result = distill(bmc, teacher, january, tmp_path / "student")
    line = refused(result, "was trained on", "rows that are held out here", str(other))
    assert " 0 of" not in line
    assert "teaching" not in result[2]


def test_rows_that_the_teachers_own_teacher_learned_are_refused_too(
    bmc: Run, january: Path, february: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    first = make_teacher(tmp_path / "first", january, fold=datasets.Fold(3, 5))
    code, _, err = distill(bmc, first, february, tmp_path / "second")
    assert code == 0, err
    refused(distill(bmc, tmp_path / "second", january, tmp_path / "third"), str(january))


@pytest.mark.parametrize("kind", ["gone", "changed", "unsaid"])
def test_what_is_not_known_of_a_teachers_data_is_said(
    kind: str,
    bmc: Run,
    january: Path,
    february: Path,
    make_teacher: Callable[..., Path],
    tmp_path: Path,
) -> None:
    teacher = make_teacher(tmp_path / "elsewhere", january)
    if kind == "gone":
        january.unlink()
    elif kind == "changed":
        table(january, list(sentences(30, seed=3)))
    else:
        edit(teacher / "bmc.json", data={"fingerprint": "unknown"})
    code, _, err = distill(bmc, teacher, february, tmp_path / "student")
    assert code == 0, err
    assert f"not known whether the teacher {teacher} was trained on rows that are held out" in err


def test_a_teacher_whose_labels_are_in_another_order_teaches_by_name(
    bmc: Run, january: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    """A teacher that answers good to everything: its student must, whatever the order of names."""
    taught = artifact.load(make_teacher(tmp_path / "teacher", january))
    taught.labels = ("good", "bad")
    with torch.no_grad():
        taught.module.get_parameter("classifier.weight").zero_()
        taught.module.get_parameter("classifier.bias").copy_(torch.tensor([4.0, -4.0]))
    turned = artifact.save(taught, tmp_path / "turned")
    options = ("--hard", 0, "--epochs", 8, "--precision", "fp32", "--learning-rate", 1e-2)
    code, _, err = distill(bmc, turned, january, tmp_path / "student", *options)
    assert code == 0, err
    copied = artifact.load(tmp_path / "student")
    assert copied.labels == ("bad", "good")
    assert copied.spec["id2label"] == {"0": "bad", "1": "good"}
    rows = Rows([(text,) for text, _ in sentences(20)], [], copied.encoder)
    outputs = logits_of(copied.module, rows, list(range(20)), "fp32", "cpu")
    assert outputs.argmax(dim=1).tolist() == [1] * 20


def test_classes_that_partly_agree_are_refused_with_their_names(
    bmc: Run, january: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [(text, {"good": "good", "bad": "awful"}[label]) for text, label in sentences(60)]
    teacher = make_teacher(tmp_path / "teacher", table(tmp_path / "other.csv", rows))
    result = distill(bmc, teacher, january, tmp_path / "student")
    refused(result, "the teacher lacks bad", "the data lacks awful")


@pytest.mark.parametrize("more", [("--temperature", 0), ("--hard", -1), ("--hidden", 64)])
@pytest.mark.usefixtures("quick_bert")
def test_what_cannot_be_is_refused_before_a_teacher_is_trained(
    more: tuple[object, ...], bmc: Run, january: Path, workspace: Path
) -> None:
    command = ("distill", "--teacher", "bert", *SMALL, *QUICK, "--data", january)
    result = bmc(*command, *more)
    refused(result)
    assert "training it first" not in result[2]
    assert not workspace.exists()


def test_data_of_another_kind_is_refused_before_a_teacher_is_trained(
    bmc: Run, workspace: Path
) -> None:
    refused(bmc("distill", "--data", "digits"), "takes text", "holds image")
    assert not workspace.exists()


def test_a_teacher_of_another_task_or_kind_is_refused_before_any_work(
    bmc: Run, january: Path, known: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    numbers = [(text, len(text) + 0.5) for text, _ in sentences(80)]
    prices = table(tmp_path / "prices.csv", numbers)
    teacher = make_teacher(tmp_path / "teacher", january)
    result = distill(bmc, teacher, prices, tmp_path / "student", "--task", "regression")
    refused(
        result,
        "is for classification",
        "the task here is regression",
        "The signals that compare no logits (attention, embedding, ",
        "name a teacher trained for regression, or pass --task",
    )
    refused(distill(bmc, known, january, tmp_path / "student"), "takes image", "holds text")
    refused(bmc("prune", "mlp", "--teacher", teacher), "takes text", "holds image")
    refused(bmc("quantize", "mlp", "--method", "qat", "--teacher", teacher), "takes text")


def test_a_pruned_model_is_not_taught_by_one_that_learned_its_held_out_rows(
    bmc: Run, january: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    model = make_teacher(tmp_path / "model", january)
    other = table(tmp_path / "more.csv", [*sentences(80), *sentences(60, seed=5)])
    teacher = make_teacher(tmp_path / "teacher", other)
    for verb in ("prune", "share"):
        result = bmc(verb, model, "--teacher", teacher, "-o", tmp_path / "out")
        refused(result, "was trained on", "held out here", str(other))
        assert "parameters" not in result[2]


# Regressions


@pytest.mark.parametrize("transfer", ["none", "texts.txt"])
def test_a_regression_is_distilled_by_squared_errors(
    bmc: Run, transfer: str, make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    """Labels far from 0, and a teacher that answers one value to all: its student must, too."""
    numbers = [(text, 1900 + 10 * text.count("a")) for text, _ in sentences(120)]
    data = table(tmp_path / "years.csv", numbers)
    texts = [text for text, _ in sentences(30, seed=8)]
    (tmp_path / "texts.txt").write_text("\n".join([*texts, numbers[0][0]]))
    loaded = datasets.load(str(data), task="regression")
    mean, scale = mean_and_scale(loaded.train.labels)
    prediction = float(mean - 1.5 * scale)
    taught = make_lively()
    spec = {key: value for key, value in taught.spec.items() if "label" not in key}
    taught.spec, taught.labels, taught.task = {**spec, "num_labels": 1}, (), "regression"
    taught.module = bert.build(taught.spec)
    with torch.no_grad():
        taught.module.get_parameter("classifier.weight").zero_()
        taught.module.get_parameter("classifier.bias").fill_(prediction)
    taught.data = {"reference": str(data), "fingerprint": loaded.fingerprint, "task": "regression"}
    teacher = artifact.save(taught, tmp_path / "teacher")
    options = ("--layers", 1, "--hidden", 16, "--heads", 2, "--batch-size", 8, "--device", "cpu")
    task = ("--task", "regression", "--data", data, "--precision", "fp32", "-o", tmp_path / "made")
    unlabeled = transfer if transfer == "none" else tmp_path / transfer
    how = ("--hard", 0, "--epochs", 8, "--learning-rate", 0.05, "--transfer", unlabeled)
    code, _, err = bmc("distill", "--teacher", teacher, *options, *task, *how)
    assert code == 0, err
    copied = artifact.load(tmp_path / "made")
    rows = Rows(loaded.train.rows, [], copied.encoder)
    values = logits_of(copied.module, rows, list(range(len(rows))), "fp32", "cpu")
    assert float((values - prediction).abs().mean()) < 0.5 * float(scale)
    if transfer != "none":
        assert "transfer texts: 30 of 31" in " ".join(err.split()) or "31 of 31" in err


def test_a_pruned_regression_learns_from_the_one_it_was(
    bmc: Run, workspace: Path, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (80, 8, 8), np.uint8)
    np.savez(tmp_path / "light.npz", images=images, labels=images.mean((1, 2)) / 7 + 0.5)
    task = ("--data", tmp_path / "light.npz", "--task", "regression", "--set", "width=32")
    code, _, err = bmc("train", "mlp", *task, "--epochs", 3, "--device", "cpu")
    assert code == 0, err
    code, _, err = bmc("prune", "mlp-light", "--ratio", 0.25, "--distill", "--epochs", 2)
    assert code == 0, err
    created = artifact.describe(workspace / "mlp-light-structured")
    assert created["origin"]["teacher"]["name"] == "mlp-light"
    assert "validation_r2" in created["scores"]


# Outputs


def test_an_output_of_other_data_is_said_to_be_that(
    bmc: Run, january: Path, february: Path, workspace: Path, make_teacher: Callable[..., Path]
) -> None:
    teacher = make_teacher(workspace / "bert-reviews", january)
    assert bmc("distill", "--teacher", teacher, *SMALL, *QUICK, "--data", january)[0] == 0
    entry = make_teacher(workspace / "other", february)
    result = bmc("distill", "--teacher", entry, *SMALL, *QUICK, "--data", february)
    refused(result, "tiny-reviews exists", "made from other data", str(january), "--force")
    same = bmc("distill", "--teacher", teacher, *SMALL, *QUICK, "--data", january)
    assert "other data" not in refused(same, "tiny-reviews exists")


def test_an_output_of_other_weights_is_said_to_be_that(
    bmc: Run, known: Path, workspace: Path
) -> None:
    again = ("prune", "mlp", "--method", "unstructured", "--epochs", 0)
    assert bmc(*again)[0] == 0
    assert "made from" not in refused(bmc(*again), "mlp-unstructured exists;")
    loaded = artifact.load(known)
    with torch.no_grad():
        next(loaded.module.parameters()).mul_(1.5)
    artifact.save(loaded, known, force=True)
    refused(bmc(*again), "mlp-unstructured exists", "made from another mlp (weights ")


def test_a_model_whose_data_was_changed_is_not_exported(
    bmc: Run, january: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    model = make_teacher(tmp_path / "model", january)
    copy = shutil.copy(january, tmp_path / "copy.csv")
    table(january, list(sentences(81)))
    words = ("is not the data that", "Bring it back", "--data", "train the model anew")
    refused(bmc("export", model, "--target", "pytorch", "-o", tmp_path / "out"), *words)
    result = bmc("export", model, "--target", "pytorch", "-o", tmp_path / "out", "--data", copy)
    assert result[0] == 0, result


def test_a_start_from_a_model_that_learned_held_out_rows_is_said_and_recorded(
    bmc: Run, january: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    start = make_teacher(tmp_path / "start", january, fold=datasets.Fold(3, 5))
    code, _, err = bmc("train", start, "--data", january, *QUICK, "-o", tmp_path / "made")
    assert code == 0, err
    assert f"{start} was trained on " in err
    assert "held-out rows" in err
    assert origin_of(tmp_path / "made")["start"]["learned_test_rows"] > 0


def test_a_generator_has_no_teacher_and_that_is_said_before_it_is_pruned(
    bmc: Run, workspace: Path
) -> None:
    from bmc.models import gan

    digits = datasets.load("digits")
    torch.manual_seed(0)
    model = gan.baseline("gan", digits, gan.Settings(width=32))
    model.data = {"reference": "digits", "fingerprint": digits.fingerprint}
    artifact.save(model, workspace / "gan")
    for verb in ("prune", "share"):
        result = bmc(verb, "gan", "--distill", "--epochs", 1)
        refused(result, "is a generator", "--distill")
        assert "parameters" not in result[2]
    code, _, err = bmc("share", "gan", "--method", "cluster", *QUICK)
    assert code == 0, err


def test_a_rebuilt_origin_is_not_named_as_the_one_a_quantized_model_came_from(
    bmc: Run, known: Path
) -> None:
    assert bmc("quantize", "mlp", "--method", "dynamic")[0] == 0
    refused(bmc("prune", "mlp-dynamic"), "comes last", "(mlp)")
    loaded = artifact.load(known)
    with torch.no_grad():
        next(loaded.module.parameters()).mul_(1.5)
    artifact.save(loaded, known, force=True)
    refused(bmc("prune", "mlp-dynamic"), "made anew since")


# Teachers' answers and checkpoints


def test_a_teachers_answers_are_kept_by_all_that_they_depend_on(
    make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    """Quantizers stand in records and words in a tokenizer: equal weights may answer otherwise."""
    texts = [("a warm film",), ("a dull film",)]
    variants = [make_lively() for _ in range(5)]
    variants[1].steps = [AppliedStep("quantize/static", {}, {"layers": {"a": 1}}, 0, 0.0)]
    encoder = variants[2].encoder
    assert isinstance(encoder, TextEncoder)
    words = encoder.tokenizer.to_str().replace('"lowercase":true', '"lowercase":false')
    variants[2].encoder = TextEncoder(Tokenizer.from_str(words), encoder.settings)
    variants[3].spec = {**variants[3].spec, "layer_norm_eps": 1e-3}
    variants[4].labels = ("positive", "negative")
    assert len({structure_of(each) for each in variants}) == len(variants)
    for each in variants:
        cached_logits(each, "a" * 64, texts, tmp_path, "cpu")
    assert len(list(tmp_path.glob("*/*.npy"))) == len(variants)


def interrupted(bmc: Run, *command: object) -> None:
    """Run a command that is stopped after its first epoch, whose checkpoint is written."""

    def stopped(progress: Progress, *_: object) -> bool:
        if progress.epoch:
            raise KeyboardInterrupt
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs, "is_stale", stopped)
        assert bmc(*command)[0] == 130


@pytest.mark.parametrize(
    ("changed", "resumes"),
    [
        ([], True),
        (["--set", "width=32"], True),
        (["--learning-rate", 0.002], False),
        (["--seed", 3], False),
        (["--data", "DATA"], False),
    ],
)
def test_a_checkpoint_of_other_settings_or_data_is_not_resumed_and_that_is_said(
    bmc: Run, tmp_path: Path, changed: list[object], resumes: bool
) -> None:
    digits = np.random.default_rng(0).integers(0, 255, (60, 8, 8), np.uint8)
    np.savez(tmp_path / "digits.npz", images=digits, labels=np.arange(60) % 3)
    changed = [tmp_path / "digits.npz" if each == "DATA" else each for each in changed]
    data = [] if "--data" in changed else ["--data", "digits"]
    width = [] if "--set" in changed else ["--set", "width=32"]
    base = ("train", "mlp", "--epochs", 2, "--precision", "fp32", "--device", "cpu")
    output = ("-o", tmp_path / "out")
    interrupted(bmc, *base, "--data", "digits", "--set", "width=32", *output)
    code, _, err = bmc(*base, *data, *width, *changed, *output)
    assert code == 0, err
    assert ("training resumes from" in err) == resumes
    assert ("belongs to another run" in err) != resumes


def test_a_checkpoint_of_other_start_weights_is_not_resumed(
    bmc: Run, january: Path, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    """The folder's name and all shapes are the same."""
    start = make_teacher(tmp_path / "start", january)
    options = ("--epochs", 2, "--precision", "fp32", "--device", "cpu")
    command = ("train", start, "--data", january, *options, "-o", tmp_path / "out")
    interrupted(bmc, *command)
    changed = artifact.load(start)
    with torch.no_grad():
        changed.module.get_parameter("bert.pooler.dense.weight").mul_(1.01)
    artifact.save(changed, start, force=True)
    code, _, err = bmc(*command)
    assert code == 0, err
    assert "belongs to another run" in err
    assert "going on" not in err


def test_a_checkpoint_of_another_command_with_the_same_output_is_not_resumed(
    bmc: Run, known: Path, tmp_path: Path
) -> None:
    output = ("-o", tmp_path / "out")
    options = ("--epochs", 2, "--precision", "fp32", "--device", "cpu")
    interrupted(bmc, "train", "mlp", "--data", "digits", "--set", "width=32", *options, *output)
    code, _, err = bmc("prune", "mlp", "--method", "unstructured", "--distill", *options, *output)
    assert code == 0, err
    assert "belongs to another run" in err
    assert "going on" not in err


@pytest.mark.parametrize("damage", ["cut", "no progress", "no tensors", "empty"])
def test_a_damaged_checkpoint_is_said_and_training_starts_anew(
    bmc: Run, tmp_path: Path, damage: str
) -> None:
    options = ("--data", "digits", "--set", "width=32", "--epochs", 2, "--device", "cpu")
    command = ("train", "mlp", *options, "-o", tmp_path / "out")
    interrupted(bmc, *command)
    (path,) = (tmp_path / ".checkpoints").rglob("checkpoint.safetensors")
    content = path.read_bytes()
    if damage in ("cut", "empty"):
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    else:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        if damage == "no progress":
            metadata["progress"] = "{"
        save_file(tensors if damage == "no progress" else {}, path, metadata)
    code, _, err = bmc(*command)
    assert code == 0, err
    assert "is damaged" in err


def test_the_next_command_of_a_users_own_network_names_its_code(
    bmc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n"
        "def flat(classes, channels, height, width):\n"
        "    layers = nn.Linear(channels * height * width, 8), nn.ReLU(), nn.Linear(8, classes)\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    monkeypatch.chdir(tmp_path)
    output = ("-o", tmp_path / "flat")
    code, out, err = bmc("train", "python:own_nets:flat", "--data", "digits", *QUICK, *output)
    assert code == 0, err
    assert f"bmc export {tmp_path / 'flat'} --target onnx --code own_nets:flat" in out
    command = ("prune", tmp_path / "flat", "--method", "unstructured", "--epochs", 0)
    refused(bmc(*command), "add --code own_nets:flat")
    code, out, err = bmc(*command, "--code", "own_nets:flat")
    assert code == 0, err
    assert "--code own_nets:flat" in out


def test_a_changed_network_of_ones_own_is_not_resumed(
    bmc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and shapes of the weights are the same; what is computed is not."""
    code = (
        "from torch import nn\n"
        "def flat(classes, channels, height, width):\n"
        "    layers = nn.Linear(channels * height * width, 8), nn.ReLU(), nn.Linear(8, classes)\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    (tmp_path / "changing_nets.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    options = ("--data", "digits", "--epochs", 2, "--device", "cpu", "-o", tmp_path / "flat")
    command = ("train", "python:changing_nets:flat", *options)
    interrupted(bmc, *command)
    (tmp_path / "changing_nets.py").write_text(code.replace("ReLU", "Tanh"))
    sys.modules.pop("changing_nets")
    importlib.invalidate_caches()
    done, _, message = bmc(*command)
    assert done == 0, message
    assert "belongs to another run" in message
