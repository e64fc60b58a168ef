"""Benches and reports show nothing that was measured of other files, data or machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bmc import bundle as bundles
from bmc.errors import ArtifactError
from bmc.files import sha256
from bmc.measure import machine, results
from bmc.measure.latency import BenchSettings, Candidate, Measured
from bmc.measure.results import Row, Run
from bmc.measure.scores import Interval
from bmc.report.collect import Line, collect, newest_run


@pytest.fixture
def place(bundle_of: Callable[[str], Path], workspace: Path) -> Path:
    """Return the test's workspace with one bundle in it."""
    shutil.copytree(bundle_of("onnx"), workspace / "small-onnx")
    return workspace


def change(folder: Path, **lineage: Any) -> None:
    """Write other facts into a bundle's lineage."""
    manifest = bundles.read(folder).manifest
    bundles.write(folder, replace(manifest, lineage={**manifest.lineage, **lineage}))


def bench(folder: Path, started: str = "20260101-000000", **other: Any) -> Run:
    """Return a bench of one bundle, as if it were measured here."""
    execution = {"device": "CPU", "precision": "f32"}
    sample = Measured(Candidate(folder, 1), execution, [[[1000, 1100]], [[1000, 1050]]])
    sha = sha256(folder / bundles.MANIFEST)
    p50 = Interval(1.0, 0.9, 1.1)
    row = Row(folder.name, sha, 1, True, sample.execution, p50, None, None, 0.1, 50.0, 4)
    run = Run(started, machine.describe(), BenchSettings(launches=2), (row,), {}, (sample,))
    return replace(run, versions=machine.runtime_versions(), **other)


def kept(location: Path, run: Run) -> Path:
    path = location / ".bench" / f"{run.started}.json"
    results.save(run, path)
    return path


def asked(**settings: Any) -> BenchSettings:
    return BenchSettings(**{"launches": 2, **settings})


def test_a_bench_of_these_very_bundles_on_this_machine_is_used(place: Path) -> None:
    run = bench(place / "small-onnx")
    kept(place, run)
    assert newest_run([place / "small-onnx"], asked()) == run


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("made anew", "small-onnx was made anew since"),
        ("another machine", "another machine (a faster one)"),
        ("another version", "other versions of the runtimes"),
        ("more rows a call", "more rows a call"),
        ("bf16", "not in fp32"),
        ("another length", "measured with 8 tokens"),
        ("fewer launches", "it has 2 launches"),
        ("fewer rounds", "it has 6 rounds"),
        ("other threads", "it was measured with 1 threads"),
        ("another bundle", "other-onnx was not measured in it"),
    ],
)
def test_a_bench_of_something_else_is_not_used_and_that_is_said(
    kind: str, message: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = place / "small-onnx"
    run, settings, folders = bench(folder), asked(), [folder]
    if kind == "another machine":
        run = replace(run, machine={**run.machine, "processor": "a faster one"})
    elif kind == "another version":
        run = replace(run, versions={**run.versions, "onnxruntime": "0.1"})
    elif kind == "more rows a call":
        run = replace(run, settings=replace(run.settings, batch=8))
    elif kind == "bf16":
        narrow = replace(run.samples[0], candidate=Candidate(folder, 1, "bf16"))
        run = replace(run, samples=(narrow,))
    elif kind == "another length":
        run = replace(run, settings=replace(run.settings, length=8))
    elif kind == "fewer launches":
        settings = asked(launches=5)
    elif kind == "fewer rounds":
        settings = asked(rounds=20)
    elif kind == "another bundle":
        folders.append(Path(shutil.copytree(folder, place / "other-onnx")))
    kept(place, run)
    if kind == "made anew":
        change(folder, parameters=7)
    threads = (1, 2) if kind == "other threads" else (1,)
    assert newest_run(folders, settings, threads) is None
    assert message in " ".join(capfd.readouterr().err.split())


def test_an_older_bench_is_used_where_the_newest_does_not_fit(place: Path) -> None:
    older = bench(place / "small-onnx")
    kept(place, older)
    newer = bench(place / "small-onnx", "20260202-000000")
    kept(place, replace(newer, settings=replace(newer.settings, batch=4)))
    assert newest_run([place / "small-onnx"], asked()) == older


def test_a_bundle_that_was_skipped_by_name_and_made_anew_is_not_taken_for_measured(
    place: Path,
) -> None:
    engine = Path(shutil.copytree(place / "small-onnx", place / "engine"))
    exactly = {"engine": sha256(engine / bundles.MANIFEST)}
    run = bench(place / "small-onnx", skipped={"engine": "no GPU"}, skipped_sha256=exactly)
    kept(place, run)
    folders = [place / "small-onnx", engine]
    assert newest_run(folders, asked()) is not None
    change(engine, parameters=7)
    assert newest_run(folders, asked()) is None


@pytest.mark.parametrize("kind", ["cut", "a number", "no samples", "an old one that is odd"])
def test_a_damaged_bench_is_said_and_the_others_are_used(
    kind: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    older = bench(place / "small-onnx")
    kept(place, older)
    path = kept(place, bench(place / "small-onnx", "20260202-000000"))
    content = json.loads(path.read_text())
    if kind == "a number":
        content["samples"][0]["nanoseconds"][0][0][0] = 17
    elif kind == "no samples":
        content["samples"] = []
    elif kind == "an old one that is odd":
        del content["sha256"]
        content["rows"][0]["name"] = ["x"]
    text = json.dumps(content)
    path.write_text(text[: len(text) // 2] if kind == "cut" else text)
    with pytest.raises(ArtifactError, match="remove it"):
        results.read(path)
    assert newest_run([place / "small-onnx"], asked()) == older
    assert f"{path} is not a bench result" in "".join(capfd.readouterr().err.split("\n"))


# Reports


def lines_of(path: Path) -> dict[str, Line]:
    return {line.name: line for line in collect(None).lines}


def test_two_data_sets_of_one_file_name_are_not_compared(place: Path) -> None:
    first = bundles.read(place / "small-onnx").manifest.lineage["data"]
    other = Path(shutil.copytree(place / "small-onnx", place / "other-onnx"))
    change(other, data={**first, "fingerprint": "ab" * 32})
    lines = lines_of(place)
    assert lines["other-onnx"].data == f"{Path(first['reference']).name} (ababab)"
    assert lines["small-onnx"].data != lines["other-onnx"].data


@pytest.mark.parametrize("kind", ["the same", "other data", "classes turned round"])
def test_agreement_is_with_a_teacher_that_answered_the_same_rows(kind: str, place: Path) -> None:
    teacher = Path(shutil.copytree(place / "small-onnx", place / "teacher-onnx"))
    change(teacher, weights_sha256="cd" * 32)
    change(place / "small-onnx", teacher={"name": "teacher", "sha256": "cd" * 32})
    manifest = bundles.read(teacher).manifest
    if kind == "other data":
        change(teacher, data={**manifest.lineage["data"], "fingerprint": "ab" * 32})
    elif kind == "classes turned round":
        bundles.write(teacher, replace(manifest, labels=manifest.labels[::-1]))
    line = lines_of(place)["small-onnx"]
    assert (line.agreement is not None) == (kind == "the same")


def test_an_origin_that_was_made_anew_is_not_taken_for_the_origin(place: Path) -> None:
    origin = bundles.read(place / "small-onnx").manifest
    created = Path(shutil.copytree(place / "small-onnx", place / "small-pruned-onnx"))
    known = {"from": origin.name, "from_sha256": origin.lineage["weights_sha256"]}
    change(created, steps=["prune/unstructured"], **known)
    assert lines_of(place)["small-pruned-onnx"].origin == "small-onnx"
    change(place / "small-onnx", weights_sha256="ef" * 32)
    assert lines_of(place)["small-pruned-onnx"].origin is None
