"""Regression: labels of any scale are learned, and every answer is in their own units."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import bmc
from bmc import artifact, bundle
from bmc import data as datasets
from bmc.data import Dataset, Table, split
from bmc.errors import DataError, SettingError
from bmc.model import Model
from bmc.models import mlp
from bmc.training.batches import Rows
from bmc.training.ensemble import Ensemble
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, mean_and_scale, start_in_units_of, work_for

Run = Callable[..., tuple[int, str, str]]
SETTINGS = TrainingSettings(
    epochs=8, learning_rate=3e-3, batch_size=64, precision="fp32", device="cpu"
)


@pytest.fixture(scope="session")
def numbers() -> Dataset:
    """Return the digits with the numbers that they show as labels."""
    return datasets.load("digits", task="regression")


def fresh(data: Dataset) -> Model:
    torch.manual_seed(0)
    model = mlp.baseline("mlp", data, mlp.Settings(width=64))
    start_in_units_of(model, data.train.labels)
    return model


def outputs_of(model: Model, data: Dataset) -> NDArray[np.float32]:
    encoder = model.encoder
    rows = encoder.encode(data.test.rows)
    arrays = encoder.batch(rows, range(len(rows)))
    with torch.inference_mode():
        outputs: Tensor = model.module(**{k: torch.from_numpy(v) for k, v in arrays.items()})
    values: NDArray[np.float32] = outputs[:, 0].numpy()
    return values


def shifted(data: Dataset, scale: float, offset: float) -> Dataset:
    def change(part: datasets.Examples) -> datasets.Examples:
        return replace(part, labels=tuple(scale * label + offset for label in part.labels))

    return replace(
        data, train=change(data.train), validation=change(data.validation), test=change(data.test)
    )


def test_a_regression_on_real_images_explains_most_of_the_variance(
    numbers: Dataset, tmp_path: Path
) -> None:
    model = fresh(numbers)
    fitted = fit_model(model, numbers, SETTINGS, tmp_path)
    truth = np.array(numbers.test.labels)
    error = ((outputs_of(model, numbers) - truth) ** 2).mean()
    assert fitted.measure == "r2"
    assert fitted.score > 0.75
    assert 1 - error / truth.var() > 0.75
    assert fitted.to_json() == {"validation_r2": fitted.score, "best_epoch": fitted.best_epoch}


@pytest.mark.parametrize(("scale", "offset"), [(1000.0, 0.0), (1e-3, 0.0), (10.0, 2000.0)])
def test_the_labels_scale_and_offset_are_folded_into_the_last_layer(
    numbers: Dataset, tmp_path: Path, scale: float, offset: float
) -> None:
    """The same run on labels in other units ends with the same answers in those units."""
    settings = replace(SETTINGS, epochs=3)
    other = shifted(numbers, scale, offset)
    models, scores = [], []
    for number, data in enumerate((numbers, other)):
        models.append(fresh(data))
        scores.append(fit_model(models[-1], data, settings, tmp_path / str(number)).score)
    first, second = outputs_of(models[0], numbers), outputs_of(models[1], other)
    np.testing.assert_allclose((second - offset) / scale, first, atol=0.02)
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    assert scores[0] > 0.5


def test_training_goes_on_from_where_a_trained_regression_stood(
    numbers: Dataset, tmp_path: Path
) -> None:
    """A rate of nearly nothing leaves the answers of a trained model as they were."""
    model = fresh(numbers)
    fit_model(model, numbers, replace(SETTINGS, epochs=2), tmp_path / "first")
    before = outputs_of(model, numbers)
    still = replace(SETTINGS, epochs=1, learning_rate=1e-9)
    fit_model(model, numbers, still, tmp_path / "second")
    np.testing.assert_allclose(outputs_of(model, numbers), before, atol=1e-3)


def test_a_model_without_a_linear_last_layer_is_refused(numbers: Dataset, tmp_path: Path) -> None:
    model = fresh(numbers)
    model.module.output = torch.nn.Identity()
    with pytest.raises(SettingError, match="linear last layer"):
        fit_model(model, numbers, SETTINGS, tmp_path)


def test_an_exported_regression_answers_in_the_labels_units_and_is_scored_by_them(
    bmc: Run, workspace: Path, numbers: Dataset
) -> None:
    options = ["--data", "digits", "--task", "regression", "--epochs", 4, "--device", "cpu"]
    code, _, err = bmc("train", "mlp", *options, "--precision", "fp32")
    assert code == 0, err
    (folder,) = workspace.glob("mlp-digits")
    model = artifact.load(folder)
    assert (model.task, model.labels) == ("regression", ())
    assert model.scores["validation_r2"] > 0.3
    code, _, err = bmc("export", folder, "--target", "onnx,openvino")
    assert code == 0, err
    expected, truth = outputs_of(model, numbers), np.array(numbers.test.labels)
    for target in ("onnx", "openvino"):
        exported_bundle = bundle.read(workspace / f"mlp-digits-{target}")
        (info,) = exported_bundle.manifest.outputs
        assert (info.name, info.shape) == ("values", ("batch", 1))
        scores = exported_bundle.manifest.scores
        assert set(scores) == {"rows", "mae", "mse", "r2"}
        error = expected - truth
        assert scores["rows"] == len(truth)
        assert scores["mae"]["value"] == pytest.approx(np.abs(error).mean(), abs=1e-3)
        assert scores["mse"]["value"] == pytest.approx((error**2).mean(), abs=1e-2)
        assert scores["r2"]["value"] == pytest.approx(1 - (error**2).mean() / truth.var(), abs=1e-2)
        assert exported_bundle.manifest.parity["agreement"] is None
        with load(exported_bundle.path) as estimate:
            result = estimate(list(numbers.test.rows[:5]))
        assert result == pytest.approx(expected[:5].tolist(), abs=1e-3)


load = bmc.load


def test_a_regression_of_text_learns_how_many_good_words_there_are(
    make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    path = tmp_path / "stars.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "stars"])
        for number in range(160):
            good = number % 5
            words = " ".join(["good"] * good + ["bad"] * (4 - good))
            writer.writerow([f"film {number}: {words}", 100 + 10 * good])
    data = datasets.load(str(path), ("text",), "stars", "regression")
    model = make_lively()
    model.task, model.labels = "regression", ()
    model.module.classifier = torch.nn.Linear(32, 1)
    start_in_units_of(model, data.train.labels)
    fitted = fit_model(model, data, replace(SETTINGS, epochs=6, batch_size=8), tmp_path)
    assert fitted.score > 0.5


def test_a_compressions_score_is_taken_in_fp32_whatever_it_trains_in(
    numbers: Dataset, tmp_path: Path
) -> None:
    model = fresh(numbers)
    results = []
    for precision in ("fp32", "bf16", "auto"):
        settings = replace(SETTINGS, precision=precision)
        work = work_for(
            numbers,
            (),
            settings,
            tmp_path,
            tmp_path,
            lambda name: artifact.load(Path(name)),
            run="",
        )
        results.append(work.score(model))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("augment", [(), ("flip",)])
def test_a_teacher_answers_in_fp32_whose_numbers_bf16_could_not_tell_apart(
    augment: tuple[str, ...], numbers: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmc.training.device.has_bf16", lambda: True)
    data = shifted(numbers, 3.0, 1990.0)
    few = replace(data, train=replace(data.train, rows=data.train.rows[:16]))
    teacher, student = fresh(data), fresh(data)
    settings = replace(SETTINGS, precision="auto", augment=augment)
    work = work_for(few, (), settings, tmp_path, tmp_path, lambda _: teacher, run="")
    rows = Rows(few.train.rows, few.train.labels, teacher.encoder).batch(range(16))
    answers = Ensemble([("years", "a" * 64)]).answers(student, work, ())(rows)
    with torch.no_grad():
        mean, scale = mean_and_scale(few.train.labels)
        expected = (teacher.module(**rows.inputs) - mean) / scale
    torch.testing.assert_close(answers, expected, atol=1e-4, rtol=0)


def test_labels_that_float32_cannot_tell_apart_are_refused(numbers: Dataset) -> None:
    seconds = [f"{1.7e9 + 10 * number}" for number in range(40)]
    table = Table([(f"text {number}",) for number in range(40)], seconds)
    with pytest.raises(DataError, match=r"float32 hardly tells apart; subtract a constant"):
        split(table, "times", ("text",), "regression")
