"""Texts of rows that student and teacher predict differently: read from the workspace's data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bmc import data as datasets
from bmc.data import Dataset
from bmc.report.disagreements import Disagreement, Disagreements
from bmc.report.line import Line, Report
from bmc.report.lineage import Lineage
from bmc.workflows.report_rows import with_texts
from tests.report._lines import line, report


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Return a table of forty short texts, checked and split."""
    path = tmp_path / "films.csv"
    rows = [f"film {n} is {'fine' if n % 2 else 'dull'},{n % 2}" for n in range(40)]
    path.write_text("\n".join(["text,label", *rows, ""]), encoding="utf-8")
    return datasets.load(str(path))


def model_directory(workspace: Path, data: Dataset) -> None:
    """Write what the workspace records of a model that was trained on the data."""
    folder = workspace / "model"
    folder.mkdir(parents=True)
    record = {
        "reference": data.location,
        "text_columns": ["text"],
        "label_column": "label",
        "fingerprint": data.fingerprint,
    }
    content = {
        **{"schema": 1, "family": "mlp", "task": "classification", "labels": list(data.labels)},
        **{"inputs": {}, "data": record, "steps": [], "scores": {}, "origin": {}, "files": {}},
    }
    (folder / "bmc.json").write_text(json.dumps(content))
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(b"{}")


def student_of(data: Dataset) -> Line:
    """Return the line of a student that predicts the first held-out row differently."""
    label = data.labels[int(data.test.labels[0])]
    row = Disagreement(0, label, label, 0.9, "other", 0.6)
    found = Disagreements("teacher", len(data.test) - 1, 1, 0, 0, 1, (row,))
    lineage = Lineage(fingerprint=data.fingerprint)
    members = {"rows": len(data.test), "kind": "text", "lineage": lineage}
    return line("student-onnx", **members, disagreements=found)


def texts_in(result: Report) -> tuple[list[str | None], str]:
    (shown,) = result.lines
    assert shown.disagreements is not None
    return [row.text for row in shown.disagreements.rows], shown.disagreements.why_no_text


def test_texts_are_read_from_data_on_which_a_model_of_the_workspace_was_trained(
    data: Dataset, workspace: Path
) -> None:
    student = student_of(data)
    texts, reason = texts_in(with_texts(report(student)))
    assert texts == [None]
    assert "no model directory of the workspace was trained on the data" in reason
    model_directory(workspace, data)
    texts, reason = texts_in(with_texts(report(student)))
    assert texts == [data.test.rows[0][0]]
    assert reason == ""


def test_rows_of_another_split_or_kind_have_no_text(data: Dataset, workspace: Path) -> None:
    model_directory(workspace, data)
    student = student_of(data)
    _, reason = texts_in(with_texts(report(replace(student, rows=99))))
    assert "split in another way" in reason
    _, reason = texts_in(with_texts(report(replace(student, kind="image"))))
    assert reason == "the rows are no texts"
    Path(str(data.location)).unlink()
    _, reason = texts_in(with_texts(report(student)))
    assert "films.csv" in reason
