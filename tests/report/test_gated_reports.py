"""`bmc report --gate`, from the command line and from Python, and the files that a report has."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import bmc as package
from bmc.errors import UsageError
from tests._pages import ROOT
from tests.report._bundles import Copy

Run = Callable[..., tuple[int, str, str]]
QUIET = ("--no-bench", "--no-floor")


@pytest.fixture
def place(put: Copy, workspace: Path) -> Path:
    """Return a workspace with two bundles, of which one is a student of the other."""
    put("teacher-onnx", model="teacher", weights_sha256="4" * 64, teacher=None)
    taught = {"teacher": {"name": "teacher", "sha256": "4" * 64}, "steps": ["distill/logits"]}
    put("student-onnx", weights_sha256="5" * 64, **taught)
    return workspace


def test_gates_that_hold_are_listed_and_the_report_has_all_its_forms(
    place: Path, bmc: Run, tmp_path: Path
) -> None:
    gates = ("--gate", "accuracy>=0.1 size<=1GB", "--gate", "max-drop<=1")
    code, out, err = bmc("report", *QUIET, *gates, "-o", tmp_path / "report")
    assert code == 0, err
    assert "all 6 checks of gates passed" in out
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "student-onnx: max-drop&lt;=1 passed: max-drop is 0 points" in page
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"index.html", "report.md", "report.json", "report.csv", "report.svg"}
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    schema = json.loads((ROOT / "docs" / "schemas" / "report.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(content)
    assert len(content["gates"]) == 6
    assert content["command"].startswith("bmc report --no-bench")
    with (tmp_path / "report" / "report.csv").open(encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["student-onnx", "teacher-onnx"]


def test_a_gate_that_fails_exits_with_1_and_names_the_bundle_and_the_value(
    place: Path, bmc: Run
) -> None:
    code, out, err = bmc("report", *QUIET, "--gate", "size<=1kB p50<=1ms", "student-onnx")
    assert code == 1
    assert "FAILED student-onnx: size<=1kB failed: size is " in out
    assert "2 of 2 checks of gates failed: student-onnx: size<=1kB failed" in err
    assert "p50<=1ms cannot be judged: no latency was measured: bmc bench student-onnx" in err
    assert "<b>2 of 2 checks failed.</b>" in (place / "report" / "index.html").read_text()
    assert "**failed** student-onnx" in (place / "report" / "report.md").read_text()
    code, out, _ = bmc("report", *QUIET, "--gate", "size<=1kB", "--json")
    assert code == 1
    assert [failed["check"] for failed in json.loads(out)["failed"]] == ["gate", "gate"]


def test_a_student_alone_is_compared_with_its_teachers_bundle_in_the_workspace(
    place: Path, bmc: Run
) -> None:
    gate = ("--gate", "max-drop<=1 kept>=0.99 agreement>=99%")
    code, out, err = bmc("report", "student-onnx", *QUIET, *gate, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert [line["name"] for line in content["lines"]] == ["student-onnx"]
    assert content["lines"][0]["teacher_bundle"] == "teacher-onnx"
    shutil.rmtree(place / "teacher-onnx")
    code, _, err = bmc("report", "student-onnx", *QUIET, *gate)
    assert code == 1
    assert "no bundle of teacher with the same held-out rows was found" in err
    assert "bmc export teacher --target pytorch" in err


def test_a_gate_that_is_none_is_refused_before_anything_is_done(place: Path, bmc: Run) -> None:
    code, _, err = bmc("report", "--gate", "accuracy=>0.8")
    assert (code, "did you mean accuracy>=0.8?" in err) == (2, True)
    code, _, err = bmc("report", "--gate", "latency<=1ms")
    assert (code, "Did you mean 'p50'?" in err) == (2, True)
    assert not (place / "report").exists()


def test_python_judges_and_writes_a_comparison(place: Path, tmp_path: Path) -> None:
    twin = place / "elsewhere" / "student-onnx"
    shutil.copytree(place / "student-onnx", twin)
    with pytest.raises(UsageError, match="two bundles are named student-onnx"):
        package.compare([place / "student-onnx", twin], bench=False)
    compared = package.compare([place / "teacher-onnx", place / "student-onnx"], bench=False)
    assert compared.answer.startswith("student-onnx takes ")
    judged = compared.gate("accuracy>=0.1", "max-drop<=1")
    assert all(verdict.passed for verdict in judged.report.gates)
    page = judged.write(tmp_path / "report")
    assert page == tmp_path / "report" / "index.html"
    assert "All 4 checks passed" in page.read_text()
    with pytest.raises(package.BmcError, match="force=True replaces it"):
        judged.write(tmp_path / "report")
    with pytest.raises(package.BmcError, match="size<=1kB failed"):
        compared.gate("size<=1kB")
    with pytest.raises(package.BmcError, match="did you mean size<=5MB"):
        compared.gate("size<=5")
