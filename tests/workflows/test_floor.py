"""The floor of a report: which simple models it has, when they are made, and what goes wrong."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bmc import bundle as bundles
from bmc import cli, workspace
from bmc.description import describe
from bmc.measure import results
from bmc.report.floor import Floor
from bmc.report.read import read_all
from bmc.workflows.floor import floor_of

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--epochs", "1", "--precision", "fp32", "--device", "cpu", "--quiet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path) -> Path:
    """Return a workspace: a small transformer, a student of it, a perceptron for digits; bundles.

    The workspace's cache holds the floor of all of them.
    """
    folder = tmp_path_factory.mktemp("floor")
    shutil.copyfile(reviews_csv, folder / "reviews.csv")
    data = ("--data", str(folder / "reviews.csv"))
    small = ("--set", "layers=1", "--set", "hidden=16", "--set", "heads=2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder / "runs"))
        for command in (
            ["train", "transformer", *data, *small, *QUICK, "-o", f"{folder}/runs/teacher"],
            ["distill", "--teacher", "teacher", "--student", "lstm", *data, *QUICK[:2], "--quiet"],
            ["train", "mlp", "--data", "digits", "--set", "width=16", *QUICK],
            ["export", "teacher", "--target", "onnx", "--quiet"],
            ["export", "lstm-reviews", "--target", "onnx", "--quiet"],
            ["export", "mlp-digits", "--target", "onnx", "--quiet"],
            ["report", "--no-bench", "--quiet"],
        ):
            assert cli.run(command) == 0, command
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that workspace; the data stays where it is."""
    copy = shutil.copytree(made / "runs", tmp_path / "workspace")
    monkeypatch.setenv("BMC_HOME", str(copy))
    return copy


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of the report in a workspace, by the bundles' names."""
    content = json.loads((folder / "report" / "report.json").read_text())
    return {line["name"]: line for line in content["lines"]}


def floor_in(folder: Path) -> list[str]:
    return [name for name, line in lines(folder).items() if line["floor"]]


def notes(folder: Path) -> str:
    return "\n".join(json.loads((folder / "report" / "report.json").read_text())["notes"])


def floor() -> Floor:
    return floor_of(read_all()[0])


def test_texts_have_tfidf_and_taught_ngrams_and_images_have_a_linear_model_and_a_cnn(
    made: Path,
) -> None:
    report = lines(made / "runs")
    assert floor_in(made / "runs") == [
        "floor-linear-digits-onnx",
        "floor-cnn-digits-onnx",
        "floor-tfidf-reviews-onnx",
        "floor-ngram-reviews-onnx",
    ]
    assert report["floor-ngram-reviews-onnx"]["teacher"] == "teacher"
    assert "taught by teacher" in report["floor-ngram-reviews-onnx"]["floor"]
    assert report["floor-ngram-reviews-onnx"]["agreement"]
    assert "TF-IDF with logistic regression" in report["floor-tfidf-reviews-onnx"]["floor"]
    assert all(line["accuracy"] and line["rows"] for line in report.values())


def test_the_floor_stands_in_every_form_of_the_report_with_a_line_that_says_what_it_is(
    made: Path,
) -> None:
    for name in ("index.html", "report.md"):
        text = (made / "runs" / "report" / name).read_text()
        assert "floor-tfidf-reviews-onnx is TF-IDF with logistic regression" in text
        assert "is what a network is worth" in text
    assert 'class="floor"' in (made / "runs" / "report" / "index.html").read_text()


def test_the_floor_stands_below_the_bundles_and_speed_ups_do_not_refer_to_it(made: Path) -> None:
    content = json.loads((made / "runs" / "report" / "report.json").read_text())
    for data in {line["data"] for line in content["lines"]}:
        marks = [bool(line["floor"]) for line in content["lines"] if line["data"] == data]
        assert marks == sorted(marks)
    assert not any("floor" in name for name in content["references"].values())


def test_no_floor_leaves_it_out(place: Path, bmc: Run) -> None:
    code, out, _ = bmc("report", "--no-bench", "--no-floor")
    assert code == 0
    assert not floor_in(place)
    assert "floor-" not in out


def test_the_floor_is_timed_in_turn_like_every_bundle(
    place: Path, bmc: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread count of each bundle takes two processes, so one of the two is measured here."""
    measure, asked = results.measure_bundles, list[Sequence[int]]()

    def with_one_thread(
        folders: Sequence[Path], threads: Sequence[int], *rest: Any, **more: Any
    ) -> results.Run:
        asked.append(threads)
        return measure(folders, threads[:1], *rest, **more)

    monkeypatch.setattr(results, "measure_bundles", with_one_thread)
    code, _, said = bmc("report", "mlp-digits-onnx", "--launches", "2")
    assert code == 0, said
    assert {name: bool(line["p50"]) for name, line in lines(place).items()} == {
        "mlp-digits-onnx": True,
        "floor-linear-digits-onnx": True,
        "floor-cnn-digits-onnx": True,
    }
    assert asked == [(1, 2)]
    (bench,) = (place / ".bench").glob("*.json")
    assert len(json.loads(bench.read_text())["rows"]) == 3


def test_a_floor_that_was_made_is_used_again_also_when_the_data_is_gone(
    place: Path, made: Path, bmc: Run
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (place / ".cache").rglob("manifest.json")}
    (made / "reviews.csv").rename(made / "elsewhere.csv")
    try:
        code, _, said = bmc("report", "--no-bench")
    finally:
        (made / "elsewhere.csv").rename(made / "reviews.csv")
    assert code == 0
    assert "making" not in said
    assert len(floor_in(place)) == 4
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_data_that_is_gone_or_changed_has_no_floor_and_a_line_that_says_so(
    place: Path, made: Path, bmc: Run
) -> None:
    shutil.rmtree(place / ".cache" / "floor")
    whole = (made / "reviews.csv").read_text()
    try:
        (made / "reviews.csv").write_text(whole + "one more row,positive\n")
        assert bmc("report", "lstm-reviews-onnx", "--no-bench")[0] == 0
        assert not floor_in(place)
        assert "was changed since" in notes(place)
        (made / "reviews.csv").unlink()
        assert bmc("report", "lstm-reviews-onnx", "--no-bench")[0] == 0
        assert not floor_in(place)
        assert "reviews.csv" in notes(place)
    finally:
        (made / "reviews.csv").write_text(whole)


def test_a_floor_of_other_data_is_not_used_for_data_of_the_same_name(
    place: Path, tmp_path: Path, made: Path, bmc: Run
) -> None:
    other = tmp_path / "reviews.csv"
    rows = (made / "reviews.csv").read_text().splitlines()
    other.write_text("\n".join(rows[:200]) + "\n")
    model = place / "other"
    assert bmc("train", "lstm", "--data", other, *QUICK, "-o", model)[0] == 0
    assert bmc("export", model, "--target", "onnx")[0] == 0
    assert bmc("report", "--no-bench")[0] == 0
    by_data: dict[str, set[str]] = {}
    for name in floor_in(place):
        by_data.setdefault(lines(place)[name]["data"], set()).add(name)
    assert len(by_data) == 3
    prints = {
        folder.name: bundles.read(folder).manifest.lineage["data"]["fingerprint"]
        for folder in floor().folders
    }
    assert len(set(prints)) == 6
    fingerprint = describe(model)["data"]["fingerprint"]
    assert sum(value == fingerprint for value in prints.values()) == 2


def test_without_the_teachers_answers_ngrams_learn_from_the_labels(place: Path, bmc: Run) -> None:
    shutil.rmtree(place / ".cache")
    code, _, said = bmc("report", "lstm-reviews-onnx", "--no-bench")
    assert code == 0
    assert "are not in the cache" in said
    ngram = lines(place)["floor-ngram-reviews-onnx"]
    assert ngram["teacher"] is None
    assert "trained on the labels" in ngram["floor"]


def test_without_a_model_of_the_workspace_no_path_of_a_bundle_is_opened(
    place: Path, bmc: Run
) -> None:
    for name in ("teacher", "lstm-reviews"):
        shutil.rmtree(place / name)
    assert bmc("report", "lstm-reviews-onnx", "--no-bench")[0] == 0
    assert not floor_in(place)
    assert "no floor for reviews.csv: no model in" in notes(place)


def test_a_report_that_has_an_ngram_student_gets_no_second_one(place: Path, bmc: Run) -> None:
    taught = ("--teacher", "teacher", "--student", "ngram", "--epochs", "1")
    data = describe(place / "teacher")["data"]["reference"]
    assert bmc("distill", *taught, "--data", data)[0] == 0
    assert bmc("export", "ngram-reviews", "--target", "onnx")[0] == 0
    assert bmc("report", "ngram-reviews-onnx", "--no-bench")[0] == 0
    assert floor_in(place) == ["floor-tfidf-reviews-onnx"]


def test_a_damaged_bundle_of_the_floor_is_made_again(place: Path, bmc: Run) -> None:
    (bundle,) = (place / ".cache").rglob("floor-linear-digits-onnx")
    (bundle / "model.onnx").write_bytes(b"")
    code, _, said = bmc("report", "mlp-digits-onnx", "--no-bench")
    assert code == 0
    assert "it is made again" in said
    assert len(floor_in(place)) == 2


def test_a_model_that_was_trained_before_an_interruption_is_exported_only(
    place: Path, bmc: Run
) -> None:
    (bundle,) = (place / ".cache").rglob("floor-linear-digits-onnx")
    weights = bundle.with_name("floor-linear-digits") / "model.safetensors"
    written = weights.stat().st_mtime_ns
    shutil.rmtree(bundle)
    assert bmc("report", "mlp-digits-onnx", "--no-bench")[0] == 0
    assert len(floor_in(place)) == 2
    assert weights.stat().st_mtime_ns == written


def test_a_cache_that_cannot_be_written_costs_the_floor_and_not_the_report(
    place: Path, tmp_path: Path, bmc: Run
) -> None:
    shutil.rmtree(place / ".cache")
    (place / ".cache").write_text("a file")  # no rights stop root, a file does
    code, _, said = bmc("report", "mlp-digits-onnx", "--no-bench")
    assert code == 0, said
    assert not floor_in(place)
    assert "no linear in the floor for digits: " in notes(place)


def test_without_scikit_learn_the_floor_lacks_tfidf_alone_and_says_what_to_install(
    place: Path, bmc: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(place / ".cache" / "floor")
    monkeypatch.delitem(sys.modules, "bmc.training.tfidf", raising=False)
    for name in ("sklearn", "sklearn.exceptions", "sklearn.linear_model"):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks what cannot be imported
    code, _, said = bmc("report", "lstm-reviews-onnx", "--no-bench")
    assert code == 0, said
    assert floor_in(place) == ["floor-ngram-reviews-onnx"]
    assert "no tfidf in the floor for reviews.csv: " in notes(place)
    assert "needs the package sklearn: pip install" in notes(place)


def test_without_torch_there_is_a_report_without_a_floor_that_says_what_to_install(
    place: Path, blocked: Callable[..., Any]
) -> None:
    shutil.rmtree(place / ".cache" / "floor")
    code = (
        "import sys; from bmc import cli; "
        "sys.exit(cli.run(['report', 'lstm-reviews-onnx', '--no-bench']))"
    )
    ended = blocked(code, "torch")
    assert ended.returncode == 0, ended.stderr
    assert list(lines(place)) == ["lstm-reviews-onnx"]
    assert "needs the package torch: pip install" in notes(place)


def test_a_regression_of_texts_has_ridge_in_its_floor(
    place: Path, made: Path, tmp_path: Path, bmc: Run
) -> None:
    path = tmp_path / "lengths.csv"
    with (made / "reviews.csv").open(encoding="utf-8") as file, path.open("w") as output:
        table = csv.writer(output)
        table.writerow(["text", "label"])
        table.writerows([row["text"], len(row["text"]) + 0.5] for row in csv.DictReader(file))
    model = place / "lengths"
    data = ("--data", path, "--task", "regression")
    assert bmc("train", "lstm", *data, *QUICK, "-o", model)[0] == 0
    assert bmc("export", model, "--target", "onnx")[0] == 0
    code, out, said = bmc("report", "lengths-onnx", "--no-bench")
    assert code == 0, said
    assert "floor-tfidf-lengths-onnx is TF-IDF with ridge" in " ".join(out.split())
    assert lines(place)["floor-tfidf-lengths-onnx"]["measure"] == "r2"


def test_series_have_no_floor_and_a_line_that_says_so(
    place: Path, tmp_path: Path, bmc: Run
) -> None:
    assert bmc("train", "lstm", "--data", "japanese-vowels", *QUICK, "-o", place / "voice")[0] == 0
    assert bmc("export", place / "voice", "--target", "onnx")[0] == 0
    assert bmc("report", "voice-onnx", "--no-bench")[0] == 0
    assert not floor_in(place)
    assert "there is no simple model for series data" in notes(place)


def taught(made: Path, bmc: Run, teacher: object, *options: object) -> None:
    """Distill a student on the reviews, and export it."""
    data = ("--data", made / "reviews.csv", *QUICK[:2])
    taught = ("distill", "--teacher", teacher, "--student", "lstm", *options, *data)
    code, _, said = bmc(*taught, "-o", workspace.root() / "student")
    assert code == 0, said
    assert bmc("export", "student", "--target", "onnx")[0] == 0


def test_ngrams_are_taught_on_the_unlabeled_texts_of_the_students(
    place: Path, made: Path, tmp_path: Path, bmc: Run
) -> None:
    texts = tmp_path / "more.csv"
    texts.write_text("body\n" + "".join(f"film number {n} was fine\n" for n in range(40)))
    taught(made, bmc, "teacher", "--transfer", texts, "--transfer-column", "body")
    assert bmc("report", "student-onnx", "--no-bench")[0] == 0
    (ngram,) = [path for path in floor().folders if "ngram" in path.name]
    model = describe(ngram.with_name(ngram.name.removesuffix("-onnx")))
    record = describe(place / "student")["origin"]["transfer"]
    assert record["rows"] == 40
    assert model["origin"]["transfer"] == record


def test_ngrams_learn_from_the_labels_where_the_students_texts_are_gone(
    place: Path, made: Path, tmp_path: Path, bmc: Run
) -> None:
    texts = tmp_path / "more.txt"
    texts.write_text("".join(f"film number {n} was fine\n" for n in range(40)))
    taught(made, bmc, "teacher", "--transfer", texts)
    texts.unlink()
    code, _, said = bmc("report", "student-onnx", "--no-bench")
    assert code == 0
    assert "floor-ngram-reviews is trained on the labels: " in said
    assert lines(place)["floor-ngram-reviews-onnx"]["teacher"] is None


def test_ngrams_learn_from_the_labels_where_the_students_have_several_teachers(
    place: Path, made: Path, bmc: Run
) -> None:
    taught(made, bmc, "teacher,lstm-reviews")
    assert bmc("report", "student-onnx", "--no-bench")[0] == 0
    ngram = lines(place)["floor-ngram-reviews-onnx"]
    assert ngram["teacher"] is None
    assert "trained on the labels" in ngram["floor"]


def test_generators_have_no_floor_and_a_line_that_says_so(place: Path, bmc: Run) -> None:
    sizes = ("--set", "latent=8", "--set", "width=8")
    assert bmc("train", "gan", "--data", "digits", *sizes, *QUICK, "-o", place / "gan")[0] == 0
    assert bmc("export", place / "gan", "--target", "onnx")[0] == 0
    assert bmc("report", "gan-onnx", "--no-bench")[0] == 0
    assert not floor_in(place)
    assert "no floor for digits: generated images have no score to compare" in notes(place)
