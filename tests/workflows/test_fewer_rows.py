"""Fewer rows are learned from and scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import bmc
from bmc import artifact, console
from bmc import data as datasets
from bmc.errors import SettingError
from bmc.workflows.tuning import Distillation, Tuning

ROWS = 50


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("model") / "mlp"
    return bmc.train("mlp", data="digits", epochs=3, output=output).path


def test_a_step_and_a_student_are_scored_on_as_many_rows_as_asked(
    digits_model: Path, tmp_path: Path
) -> None:
    quantized = bmc.quantize(
        digits_model, tuning={"validation_rows": ROWS, "device": "cpu"}, output=tmp_path / "a"
    )
    student = bmc.distill(
        digits_model,
        student="mlp",
        data="digits",
        output=tmp_path / "b",
        validation_rows=ROWS,
        epochs=1,
        device="cpu",
    )
    for path in (quantized.path, student.path):
        rows = artifact.load(path).scores["validation"]["rows"]
        assert 0.5 * ROWS < rows <= ROWS


def test_the_rows_are_spread_over_all_of_them() -> None:
    examples = datasets.load("digits").validation
    few = examples.spaced(20)
    assert len(few) <= 20
    assert list(few.labels) == list(examples.labels[:: -(-len(examples) // 20)])
    assert len(examples.spaced(10 * len(examples))) == len(examples)
    assert len(datasets.Examples((), ()).spaced(5)) == 0


def test_a_step_and_a_student_learn_from_as_many_labeled_rows_as_asked(
    digits_model: Path, tmp_path: Path
) -> None:
    tuning = {"epochs": 1, "distill": True, "device": "cpu"}
    weights = []
    for name, rows in (("all", None), ("few", 200), ("again", 200)):
        settings = {**tuning, "train_rows": rows}
        pruned = bmc.prune(digits_model, ratio=0.5, tuning=settings, output=tmp_path / name)
        weights.append(artifact.load(pruned.path).module.get_parameter("output.weight"))
    assert not weights[0].equal(weights[1])
    assert weights[1].equal(weights[2])
    said: list[str] = []
    with console.reporting(console.Callback(lambda event: said.append(event.text))):
        student = bmc.distill(
            digits_model,
            student="mlp",
            data="digits",
            output=tmp_path / "student",
            train_rows=200,
            epochs=1,
            device="cpu",
        )
    rows = len(datasets.load("digits").train.spaced(200))
    assert any(f"on {rows} labeled and 0 unlabeled rows" in text for text in said)
    call = artifact.load(student.path).origin["calls"][-1]
    assert call["settings"]["train_rows"] == 200, "the recipe of the student has it, too"


def test_a_step_that_trains_or_measures_by_itself_sees_as_many_rows_as_asked(
    digits_model: Path, tmp_path: Path
) -> None:
    cases: dict[str, dict[str, Any]] = {
        "movement": {"method": "movement", "ratio": 0.5},
        "taylor": {"method": "structured", "ratio": 0.5, "criterion": "taylor"},
    }
    for name, settings in cases.items():
        weights = []
        for rows in (None, 100):
            tuning = {"epochs": 0, "train_rows": rows, "device": "cpu"}
            output = tmp_path / f"{name}-{rows}"
            pruned = bmc.prune(digits_model, tuning=tuning, output=output, **settings)
            weights.append(artifact.load(pruned.path).module.get_parameter("output.weight"))
        assert not weights[0].equal(weights[1]), name
    scales = []
    for rows in (None, 20):
        output = tmp_path / f"static-{rows}"
        tuning = {"train_rows": rows, "device": "cpu"}
        quantized = bmc.quantize(digits_model, tuning=tuning, samples=64, output=output)
        state = artifact.load(quantized.path).module.state_dict()
        scales.append(torch.stack([v for name, v in state.items() if name.endswith(".scale")]))
    assert not scales[0].equal(scales[1])


@pytest.mark.parametrize("settings", [Tuning, Distillation])
def test_no_row_at_all_is_refused(settings: type[Tuning | Distillation]) -> None:
    with pytest.raises(SettingError, match="validation rows is 0"):
        settings(validation_rows=0)
    with pytest.raises(SettingError, match="train rows is 0"):
        settings(train_rows=0)


def test_pairs_of_sentences_stay_together() -> None:
    rows = [(f"{place} {number}",) for number in range(40) for place in ("left", "right")]
    similarities = [number / 40 for number in range(40) for _ in range(2)]
    part = datasets.Examples(tuple(rows), tuple(similarities))
    data = replace(datasets.load("digits"), task="embedding", kind="text", validation=part)
    for few in (10, 13, 79):
        validation = datasets.with_fewer_rows(data, validation=few).validation
        assert len(validation) <= few
        assert len(validation) > few / 2 - 1
        firsts, seconds = validation.rows[::2], validation.rows[1::2]
        assert [text.replace("left", "right") for (text,) in firsts] == [t for (t,) in seconds]
        assert list(validation.labels[::2]) == list(validation.labels[1::2])
