"""Reports of strange workspaces: whose times are compared, what is broken, and hostile names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import bundle as bundles
from bmc import cli
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.report import page, table
from bmc.report.chart import svg
from bmc.report.collect import collect, newest_run
from bmc.report.line import Report
from bmc.report.read import evaluated
from tests.report._html import Page
from tests.report._runs import timed

Run = Callable[..., tuple[int, str, str]]
WEIGHTS = "model/model.safetensors"
HOSTILE = "a|b`c` <script>alert(1)</script> [x](javascript:y) **z**\n# head\x1b[2J\u202e"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a small perceptron for digits; beside it lies one for ONNX."""
    home = tmp_path_factory.mktemp("plain")
    quick = ("--epochs", "2", "--precision", "fp32", "--device", "cpu", "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(home))
        assert cli.run(["train", "mlp", "--data", "digits", "--set", "width=16", *quick]) == 0
        assert cli.run(["export", "mlp-digits", "--target", "pytorch,onnx", "--quiet"]) == 0
    return home / "mlp-digits-pytorch"


@pytest.fixture
def put(plain: Path, workspace: Path) -> Callable[..., Path]:
    """Return a function that puts the bundle into the workspace, under a name, changed."""

    def copy(name: str, labels: tuple[str, ...] | None = None, **lineage: Any) -> Path:
        folder = shutil.copytree(plain, workspace / name)
        manifest = bundles.read(folder).manifest
        model, task = lineage.pop("model", name), lineage.pop("task", manifest.task)
        changed = replace(manifest, name=model, task=task, labels=labels or manifest.labels)
        changed = replace(changed, lineage={**manifest.lineage, **lineage})
        if task == "generation":
            pixels = replace(manifest.outputs[0], shape=("batch", 1, 8, 8))
            changed = replace(changed, labels=(), outputs=(pixels,))
        bundles.write(folder, changed)
        return folder

    return copy


def references(workspace: Path, *names: str) -> dict[str, str]:
    return dict(collect(timed(workspace, dict.fromkeys(names, 100.0))).references)


# What times are compared with


def test_a_generator_is_never_what_classifiers_are_compared_with(
    put: Callable[..., Path], workspace: Path
) -> None:
    put("small")
    put("gan", task="generation", parameters=10**9)
    result = references(workspace, "small", "gan")
    assert result == {"digits (classification)": "small", "digits (generation)": "gan"}


def test_two_data_sets_of_one_file_name_are_not_compared(
    put: Callable[..., Path], workspace: Path
) -> None:
    put("a", data={"reference": "jan/reviews.csv", "fingerprint": "1" * 64})
    put("b", data={"reference": "feb/reviews.csv", "fingerprint": "2" * 64}, parameters=10**9)
    assert references(workspace, "a", "b") == {
        "reviews.csv (111111)": "a",
        "reviews.csv (222222)": "b",
    }
    put("c", data={"reference": "feb/reviews.csv", "fingerprint": "3" * 64})
    assert len(references(workspace, "a", "b", "c")) == 3, "a file that changed is other data"


def test_the_reference_is_the_teacher_though_another_is_larger(
    put: Callable[..., Path], workspace: Path
) -> None:
    put("teacher", weights_sha256="t" * 64, parameters=100)
    put("other", weights_sha256="o" * 64, parameters=10**9)
    put("student", weights_sha256="s" * 64, teacher={"name": "teacher", "sha256": "t" * 64})
    assert references(workspace, "teacher", "other", "student") == {"digits": "teacher"}


def test_the_reference_is_the_model_that_others_were_made_from(
    put: Callable[..., Path], workspace: Path
) -> None:
    put("origin", model="origin", parameters=100)
    put("other", parameters=10**9)
    steps = ["prune/structured", "quantize/static"]
    put("pruned", model="pruned", steps=steps[:1], **{"from": "origin"}, parameters=50)
    put("both", model="both", steps=steps, **{"from": "pruned"}, parameters=50)
    assert references(workspace, "origin", "other", "pruned", "both") == {"digits": "origin"}


def test_another_reference_can_be_named(
    put: Callable[..., Path], workspace: Path, bmc: Run
) -> None:
    put("large", parameters=10**9)
    put("small")
    run = timed(workspace, {"large": 200.0, "small": 100.0})
    by_name = {line.name: line for line in collect(run, "small").lines}
    assert by_name["small"].speed_up is None
    assert by_name["large"].speed_up is not None
    assert by_name["large"].speed_up.value == pytest.approx(0.5, rel=0.05)
    code, _, err = bmc("report", "--reference", "smal")
    assert code == 2
    assert "no bundle named 'smal'. Did you mean 'small'?" in err
    assert bmc("report", "--reference", "small", "--no-bench")[0] == 2


# Numbers


def test_small_files_and_short_times_have_figures(
    put: Callable[..., Path], workspace: Path
) -> None:
    put("small")
    report = collect(timed(workspace, {"small": 4.87}))
    cells = table.cells(report.lines[0])
    assert cells[table.COLUMNS.index("MB")].startswith("0.0")
    assert float(cells[table.COLUMNS.index("MB")]) > 0
    assert cells[table.COLUMNS.index("p50 ms")].startswith("0.00488 [")
    for text in (page.html(report), table.markdown(report)):
        assert "0.00 " not in text
        assert " 0.0 " not in text


def test_an_interval_wider_than_twice_its_lower_end_is_marked_and_said(
    put: Callable[..., Path], workspace: Path
) -> None:
    put("steady")
    put("unsteady")
    run = timed(workspace, {"steady": 100.0, "unsteady": 100.0})
    wide = replace(run.rows[1], p50=Interval(134.8, 1.6, 11162.4))
    report = collect(replace(run, rows=(run.rows[0], wide)))
    lines = {line.name: table.cells(line) for line in report.lines}
    assert lines["unsteady"][5] == "135 [1.60, 11,162] ?"
    assert "?" not in lines["steady"][5]
    assert any(note.startswith("?: ") and "unsteady" in note for note in table.notes(report))


def test_launches_are_added_while_times_are_unsteady_and_up_to_a_bound(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plain.with_name("mlp-digits-onnx")  # whose processes start without torch
    settings = BenchSettings(
        launches=2, rounds=2, turn_seconds=0.0, turn_calls=15, length=8, most_launches=4
    )
    monkeypatch.setattr(results, "are_steady", lambda result: len(result[0].nanoseconds) == 3)
    run = results.measure_bundles([folder], (1,), settings)
    assert [len(sample.nanoseconds) for sample in run.samples] == [3]
    monkeypatch.setattr(results, "are_steady", lambda actual: False)
    run = results.measure_bundles([folder], (1,), replace(settings, most_launches=3))
    assert [len(item.nanoseconds) for item in run.samples] == [3]


def test_methods_that_are_for_size_are_said_to_be(put: Callable[..., Path]) -> None:
    put("small", steps=["quantize/weights"])
    put("shared", steps=["share/cluster", "quantize/fp16"])
    put("pruned", steps=["prune/structured"])
    notes = table.notes(collect(None))
    assert "small: weights: made for size, not for speed" in notes
    assert "shared: cluster and fp16: made for size, not for speed" in notes
    assert sum("for size" in note for note in notes) == 2


# What failed, and what is broken


def test_a_failure_older_than_a_success_of_its_name_is_not_shown(put: Callable[..., Path]) -> None:
    put("old")
    failed = put("old.failed")
    newer = put("new.failed")
    put("new")
    for folder, seconds in ((failed, 2_000_000_000), (newer, 1_000_000_000)):
        os.utime(folder / bundles.MANIFEST, (seconds, seconds))
    assert [line.name for line in collect(None).lines if line.failed] == ["old.failed"]


def broken(folder: Path, how: str) -> None:
    """Break a bundle in one of several ways, its hashes right where it can be."""
    manifest = folder / bundles.MANIFEST
    if how == "model":
        (folder / WEIGHTS).write_bytes(b"")
    elif how == "manifest":
        manifest.write_text("{")
    elif how == "evaluation":
        arrays = bundles.read_arrays(folder / bundles.EVALUATION)
        known = bundles.read(folder).manifest
        logits, labels = arrays["logits"], arrays["labels"] + 99
        np.savez(folder / bundles.EVALUATION, logits=logits, labels=labels)
        bundles.write(folder, known)
    else:
        content = json.loads(manifest.read_text())
        content["lineage"].update(json.loads(how))
        manifest.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "how",
    [
        "model",
        "manifest",
        "evaluation",
        '{"data": ["digits"]}',
        '{"teacher": {"name": 5}}',
        '{"parameters": "many"}',
        '{"steps": 3}',
        '{"odd_widths": ["a"]}',
    ],
)
def test_one_broken_bundle_is_a_red_line_with_its_reason_and_the_rest_stands(
    how: str, put: Callable[..., Path], bmc: Run, tmp_path: Path
) -> None:
    put("whole")
    broken(put("damaged"), how)
    if how != "evaluation":  # which is not read of a bundle that failed
        broken(put("worse.failed"), how)
    code, out, err = bmc("report", "--no-bench", "-o", tmp_path / "report")
    assert code == 0, err
    assert "damaged is left out: " in out
    names = {"damaged", *(("worse.failed",) if how != "evaluation" else ())}
    assert all(f"{name} is left out: " in out for name in names)
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [line["name"] for line in content["lines"]] == ["whole"]
    assert content["broken"].keys() == names
    for file in ("report.md", "index.html"):
        assert "damaged" in (tmp_path / "report" / file).read_text()
    styles = [row.style for row in table.terminal(collect(None)).rows]
    assert styles.count("red") == len(names)


def test_a_report_of_broken_bundles_alone_is_written(
    put: Callable[..., Path], bmc: Run, tmp_path: Path
) -> None:
    broken(put("damaged"), "model")
    code, _, err = bmc("report", "-o", tmp_path / "report")
    assert code == 0, err
    assert "damaged" in (tmp_path / "report" / "index.html").read_text()


def test_a_bundle_that_fails_when_it_is_run_does_not_stop_the_bench(
    put: Callable[..., Path], workspace: Path
) -> None:
    good, bad = put("good"), put("bad")
    (bad / WEIGHTS).write_bytes(b"no model")
    bundles.write(bad, bundles.read(good).manifest)  # its hashes are right
    quick = BenchSettings(launches=2, rounds=2, turn_seconds=0.0, turn_calls=10)
    run = results.measure_bundles([good, bad], (1,), quick, skip_broken=True)
    assert [row.name for row in run.rows] == ["good"]
    assert run.failed == ("bad",)
    results.save(run, workspace / ".bench" / f"{run.started}.json")
    again = newest_run([good, bad], quick)
    assert again is not None
    assert again.failed == run.failed
    report = collect(again)
    assert any(note.startswith("bad fails when it is run: ") for note in table.notes(report))
    assert {line.name: line.cannot_run is None for line in report.lines} == {
        "good": True,
        "bad": False,
    }


def test_a_bench_that_is_no_bench_is_passed_over(put: Callable[..., Path], workspace: Path) -> None:
    folder = put("small")
    (workspace / ".bench").mkdir()
    (workspace / ".bench" / "20990101-000000.json").write_text("{}")
    assert newest_run([folder]) is None


# Names and labels that would steer a page or a terminal


@pytest.fixture
def hostile(put: Callable[..., Path]) -> Report:
    """Return a report in which everything that is data would like to be more."""
    labels = (HOSTILE, *(f"{number}{HOSTILE}" for number in range(9)))
    data = {"reference": f"x{HOSTILE}".replace("/", " "), "fingerprint": "0"}
    put("first", labels=labels, data=data, model=HOSTILE)
    failed = put("second.failed", labels=labels, model=HOSTILE)
    manifest = bundles.read(failed).manifest
    bundles.write(failed, replace(manifest, failure=HOSTILE))
    return replace(collect(None), broken={HOSTILE: HOSTILE})


def test_a_page_shows_hostile_names_and_obeys_none(hostile: Report) -> None:
    written = page.html(hostile)
    parsed = Page(written)
    assert not parsed.handlers
    assert not parsed.tags & {"iframe", "img"}
    assert len(parsed.scripts) == 1, "that of the page"
    assert all(load.startswith("#") or load == "data:," for load in parsed.loads)
    for control in ("\x1b", "\u202e"):
        assert control not in written
        assert control not in svg(hostile)


def test_markdown_shows_hostile_names_and_obeys_none(hostile: Report) -> None:
    written = table.markdown(hostile)
    tables = [part.splitlines() for part in written.split("\n\n") if part.startswith("|")]
    assert len(tables) == 3
    for rows in tables:
        assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert not any(line.startswith("# head") for line in written.splitlines())
    for raw in ("<script>", "\x1b", "\u202e"):
        assert raw not in written.replace("\\<", "")
    assert "](javascript" not in written.replace("\\]", "")


def test_a_terminal_is_never_steered(put: Callable[..., Path], bmc: Run) -> None:
    put("first", labels=(HOSTILE, *"123456789"), data={"reference": HOSTILE, "fingerprint": "0"})
    code, out, err = bmc("report", "--no-bench")
    assert code == 0, err
    assert "\x1b[2J" not in out + err
    assert "\u202e" not in out + err


def test_classes_and_the_matrix_stand_on_the_page_in_markdown_and_json(
    put: Callable[..., Path], bmc: Run, tmp_path: Path
) -> None:
    put("small")
    assert bmc("report", "--no-bench", "-o", tmp_path / "report")[0] == 0
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    matrix = content["lines"][0]["scores"]["confusion"]
    assert len(matrix) == 10
    assert "## small by class" in (tmp_path / "report" / "report.md").read_text()
    assert "answered as" in (tmp_path / "report" / "index.html").read_text()


def test_scores_in_a_file_that_the_manifest_does_not_list_are_not_read(
    put: Callable[..., Path],
) -> None:
    folder = put("unlisted")
    assert evaluated(folder).outputs is not None
    manifest, content = bundles.read(folder).manifest, (folder / bundles.EVALUATION).read_bytes()
    (folder / bundles.EVALUATION).unlink()
    bundles.write(folder, manifest)
    (folder / bundles.EVALUATION).write_bytes(content)
    assert evaluated(folder).outputs is None
