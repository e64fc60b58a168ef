"""A bundle with a threshold gives no label below it: in Python, on the command line, in scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

import bmc as package
from bmc import bundle as bundles
from bmc import checking, manifest
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.export import ExportOptions, flow
from bmc.export.rejecting import refuse_rejecting, threshold_of
from bmc.export.source import Source, source_of
from bmc.predictions import Prediction
from bmc.report.collect import collect
from bmc.serving.app import application
from bmc.serving.settings import ServingSettings
from bmc.targets import RuntimeOptions
from tests._pages import ROOT

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(lively_folder: Path, reviews: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that rejects a third of the validation rows."""
    output = tmp_path_factory.mktemp("rejecting") / "lively-onnx"
    with source_of(lively_folder, reviews, ExportOptions(reject_rate=1 / 3)) as source:
        return flow.export(source, "onnx", output, force=False).path


def test_its_threshold_and_scores_are_in_the_manifest_and_the_card(
    folder: Path, reviews: Dataset
) -> None:
    content = bundles.read(folder).manifest
    assert content.reject_below is not None
    with package.load(folder) as pipeline:
        of_validation = pipeline(list(reviews.validation.rows))
        of_test = pipeline(list(reviews.test.rows))
    share = np.mean([prediction.rejected for prediction in of_validation])
    assert share == pytest.approx(1 / 3, abs=1 / len(of_validation))
    rejected = np.array([prediction.rejected for prediction in of_test])
    assert content.scores["rejected"]["value"] == pytest.approx(rejected.mean())
    right = [
        prediction.label == content.labels[label]
        for prediction, label in zip(of_test, reviews.test.labels, strict=True)
    ]
    accuracy = np.array(right)[~rejected].mean()
    assert content.scores["accepted_accuracy"]["value"] == pytest.approx(accuracy)
    assert "is rejected: it gets no label" in (folder / "README.md").read_text()
    schema = json.loads((ROOT / "docs" / "schemas" / "bundle.json").read_text())
    Draft202012Validator(schema).validate(json.loads((folder / "manifest.json").read_text()))


def test_a_rejected_row_has_no_label_and_the_score_of_its_best(
    folder: Path, reviews: Dataset, bmc: Run
) -> None:
    threshold = bundles.read(folder).manifest.reject_below or 0
    with package.load(folder) as pipeline:
        predictions = list(pipeline.batch(reviews.test.rows))
    rejected = next(index for index, each in enumerate(predictions) if each.rejected)
    assert predictions[rejected] == Prediction(None, predictions[rejected].score, rejected=True)
    for prediction in predictions:
        assert prediction.rejected == (prediction.score < threshold) == (prediction.label is None)
    (text,) = reviews.test.rows[rejected]
    code, out, _ = bmc("predict", folder, text)
    assert code == 0
    assert out.startswith("rejected 0.")
    answer = json.loads(bmc("predict", folder, text, "--json")[1])["answers"][0]
    assert (answer["label"], answer["rejected"]) == (None, True)


def test_the_service_gives_it_no_label_either(folder: Path, reviews: Dataset) -> None:
    texts = [text for (text,) in reviews.test.rows]
    with (
        package.load(folder) as pipeline,
        TestClient(application(pipeline, ServingSettings())) as client,
    ):
        predictions = client.post("/predict", json={"rows": texts}).json()["predictions"]
        about = client.get("/bundle").json()
        expected = pipeline(texts)
    assert about["reject_below"] == bundles.read(folder).manifest.reject_below
    assert [each["label"] for each in predictions] == [each.label for each in expected]
    rejected = [each.get("rejected", False) for each in predictions]
    assert rejected == [each.rejected for each in expected]
    assert any(rejected)


def test_the_check_compares_golden_rows_by_the_labels_that_they_have_without_it(
    folder: Path,
) -> None:
    assert checking.check(folder, RuntimeOptions(threads=1)).rows == 4
    assert all(bundles.read(folder).golden_rows().labels)  # type: ignore[union-attr]


def test_the_report_has_the_share_and_the_accuracy_of_the_others(folder: Path) -> None:
    (line,) = collect(None, folders=[folder]).lines
    recorded = bundles.read(folder).manifest.scores
    for name in ("rejected", "accepted_accuracy"):
        assert line.scores[name]["value"] == pytest.approx(recorded[name]["value"])


def test_an_accuracy_of_the_accepted_rows_is_reached_or_refused(
    folder: Path, lively_folder: Path, reviews: Dataset
) -> None:
    def threshold(source: Source, **options: float) -> float | None:
        chosen = replace(source, options=ExportOptions(**options))  # type: ignore[arg-type]
        return threshold_of(pipeline, chosen, 32)

    with (
        source_of(lively_folder, reviews, ExportOptions()) as source,
        package.load(folder) as pipeline,
    ):
        assert threshold(source) is None
        assert threshold(source, reject_below=0.7) == 0.7
        assert threshold(source, accept_accuracy=0.01) == pytest.approx(0.25, abs=0.25)
        with pytest.raises(UsageError, match=r"no threshold reaches an accuracy of 0\.9999"):
            threshold(source, accept_accuracy=0.9999)


@pytest.mark.parametrize(
    "options",
    [{"reject_below": 1.5}, {"reject_rate": 0.0}, {"reject_below": 0.5, "accept_accuracy": 0.9}],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=r"reject|accept"):
        ExportOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "task", ["multilabel", "regression", "tokens", "embedding", "generation", "tensors"]
)
def test_other_tasks_have_no_reject_answer(task: str) -> None:
    with pytest.raises(UsageError, match=f"this one is for {task}: leave them out"):
        refuse_rejecting(task, ExportOptions(reject_below=0.7))
    refuse_rejecting(task, ExportOptions())


@pytest.mark.parametrize("value", [0, 1.5, "0.5", True])
def test_a_threshold_out_of_range_in_a_manifest_is_refused(folder: Path, value: object) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    with pytest.raises(ValueError, match="reject_below"):
        manifest.parse({**content, "reject_below": value})
    with pytest.raises(ArtifactError, match="was changed"):
        _changed(folder, value)


def _changed(folder: Path, value: object) -> None:
    """Read the bundle with another threshold in its manifest."""
    path = folder / "manifest.json"
    before = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(before), "reject_below": value}))
        bundles.read(folder)
    finally:
        path.write_text(before)
