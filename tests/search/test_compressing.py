"""A whole search on a small model: budgets are met or the nearest is said; it can be continued."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import bmc as package
from bmc import ModelHandle
from bmc import bundle as bundles
from bmc.errors import UnknownError, UsageError
from bmc.recipes.expand import plan_of
from bmc.recipes.reading import read_recipe
from bmc.search import compressing, publishing, timing
from bmc.search.budgets import Budgets
from bmc.search.chain import Origin
from bmc.search.compressing import compress
from bmc.search.options import SearchOptions
from bmc.search.result import Found
from bmc.search.trials import Trials
from bmc.workflows.options import Files

Run = Callable[..., tuple[int, str, str]]


def search(model: Path, budgets: Budgets, output: Path, trials: int) -> Found:
    options = SearchOptions(trials=trials, threads=(1,), finalists=1)
    return compress(str(model), "openvino", budgets, options, Files(output))


def test_a_search_meets_its_budgets_and_goes_on_with_more_trials(
    digits_model: Path, tmp_path: Path
) -> None:
    budgets = Budgets(max_drop=50, max_size="0.8x", minimize="size")
    found = search(digits_model, budgets, tmp_path / "small", 2)
    assert found.is_met
    assert (found.trials, found.failed) == (2, 0)
    best = found.winners[0]
    assert best.model == tmp_path / "small-1"
    bundle = bundles.read(best.bundle)
    assert bundle.model_size() == best.validation.bytes < 0.8 * found.base.bytes
    assert best.validation.drop <= 50
    assert bundle.manifest.scores["rows"] == 359  # the test split, opened for the report
    assert best.test["accuracy"] == bundle.manifest.scores["accuracy"]
    model = package.open(digits_model)
    assert isinstance(model, ModelHandle)
    whole = model.to("openvino", output=tmp_path / "whole")
    accuracies = [
        bundles.read(path).manifest.scores["accuracy"]["value"]
        for path in (whole.path, best.bundle)
    ]
    assert best.test_lost is not None
    assert best.test_lost.value == pytest.approx(100 * (accuracies[0] - accuracies[1]))
    assert best.test_lost.low <= best.test_lost.value <= best.test_lost.high
    assert found.sentence.startswith("within 50 points")
    assert b"<svg" in found.picture.read_bytes()
    plan = plan_of(read_recipe(best.recipe))  # bmc run takes it
    assert [step.verb for step in plan.steps][-1] == "export"
    first = json.loads((found.folder / "result.json").read_text())
    again = search(digits_model, budgets, tmp_path / "small", 2)
    assert again.to_json() == first  # nothing is left to do
    more = search(digits_model, budgets, tmp_path / "small", 3)
    assert more.trials == 3
    assert more.seconds > found.seconds
    # OpenVINO numbers a graph's nodes on, so the same model's XML differs by a few bytes.
    assert more.winners[0].validation.bytes < best.validation.bytes + 100
    with pytest.raises(UsageError, match="holds the study of another search"):
        search(digits_model, Budgets(max_drop=1), tmp_path / "small", 3)


def test_time_that_finalists_do_not_need_is_for_more_trials(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, until = Trials.run, list[float]()

    def recorded(self: Trials, seconds: float, count: int | None) -> None:
        until.append(seconds)
        run(self, 0.0, 2)  # a few are enough here

    monkeypatch.setattr(Trials, "run", recorded)
    options = SearchOptions(minutes=10.0, threads=(1,), finalists=1)
    budgets = Budgets(max_size="0.8x", minimize="size")
    words = (str(digits_model), "openvino", budgets)
    found = compress(*words, options, Files(tmp_path / "small"))
    assert until == [300.0, pytest.approx(300 + 270 - 120)]
    assert compress(*words, options, Files(tmp_path / "small")).to_json() == found.to_json()
    assert len(until) == 2, "a finished search is not gone on with for the same minutes"
    longer = replace(options, minutes=11.0)
    again = compress(*words, longer, Files(tmp_path / "small"))
    spent = again.seconds - found.seconds
    assert until[2:] == [330.0, pytest.approx(330 + 297 - 132, abs=found.seconds + spent)]
    assert until[3] < 330 + 297 - 132, "less what finalists took before"


def test_budgets_that_cannot_be_met_end_with_the_nearest_in_a_sentence(
    digits_model: Path, tmp_path: Path, bmc: Run
) -> None:
    line = ["compress", digits_model, "--target", "openvino", "--max-drop", "0"]
    line += ["--max-size", "1kB", "--minimise", "size"]
    options = ["--trials", "2", "--finalists", "1", "--threads", "1"]
    code, out, err = bmc(*line, *options, "--output", tmp_path / "none", "--json")
    assert code == 1, err
    assert "no model within 0 points, 0.00100 MB was found; nearest: " in err
    result: dict[str, Any] = json.loads(out)
    kept = Path(result["winners"][0]["bundle"])
    assert kept.name == "none-1-openvino.failed"
    assert bundles.read(kept).manifest.failure is not None
    assert result["failed"] == [{"check": "budget", "message": err.strip().splitlines()[-1][5:]}]


def test_another_output_of_the_same_name_is_not_replaced(
    digits_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "small-1").mkdir()
    (tmp_path / "small-1" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        compress(str(digits_model), "onnx", Budgets(1), files=Files(tmp_path / "small"))


def test_the_function_takes_the_settings_of_the_command(digits_model: Path) -> None:
    with pytest.raises(UsageError, match="trials is 0"):
        package.compress_within(digits_model, "onnx", max_drop=1, trials=0)
    with pytest.raises(UsageError, match="named 'sampling'"):
        package.compress_within(digits_model, "onnx", search={"sampling": "tpe"})
    assert timing.TRIAL.launches < timing.FINAL.launches


def test_unlabeled_rows_that_cannot_be_read_are_refused_before_the_first_trial(
    digits_model: Path, tmp_path: Path
) -> None:
    options = SearchOptions(trials=1, transfer=str(tmp_path / "revews.txt"))
    with pytest.raises(UnknownError, match=r"revews\.txt"):
        compress(str(digits_model), "onnx", Budgets(max_drop=50), options, Files(tmp_path / "a"))


def test_a_search_in_another_storage_does_not_replace_the_models_of_the_first(
    digits_model: Path, tmp_path: Path
) -> None:
    def in_storage(name: str, budgets: Budgets) -> Found:
        storage = f"sqlite:///{tmp_path / name}"
        options = SearchOptions(trials=2, threads=(1,), finalists=1, storage=storage)
        return compress(str(digits_model), "onnx", budgets, options, Files(tmp_path / "small"))

    first = in_storage("a.db", Budgets(max_drop=50, max_size="0.99x", minimize="size"))
    with pytest.raises(UsageError, match="exists"):
        in_storage("b.db", Budgets(max_drop=50, max_size="0.99x", minimize="size"))
    assert first.winners[0].model.is_dir()


def test_a_model_of_a_finished_search_that_was_removed_is_published_again(
    digits_model: Path, tmp_path: Path
) -> None:
    budgets = Budgets(max_drop=50, max_size="0.8x", minimize="size")
    found = search(digits_model, budgets, tmp_path / "small", 2)
    shutil.rmtree(found.winners[0].model)
    again = search(digits_model, budgets, tmp_path / "small", 2)
    assert again.trials == 2
    assert again.winners[0].model.is_dir()
    assert again.winners[0].candidate == found.winners[0].candidate


def test_a_search_that_was_stopped_among_its_finalists_runs_no_more_trials(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, called = Trials.run, list[float]()

    def recorded(self: Trials, seconds: float, count: int | None) -> None:
        called.append(seconds)
        run(self, 0.0, 2)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trials, "run", recorded)
    options = SearchOptions(minutes=10.0, threads=(1,), finalists=1)
    words = (str(digits_model), "openvino", Budgets(max_size="0.8x", minimize="size"), options)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish", stopped)
        with pytest.raises(KeyboardInterrupt):
            compress(*words, Files(tmp_path / "small"))
    begun = len(called)
    found = compress(*words, Files(tmp_path / "small"))
    assert len(called) == begun > 0
    assert found.is_met


def test_the_model_of_a_project_that_was_moved_is_compressed_with_its_data_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "\n".join(f"{i % 7}.5,{(i * i) % 11},{'ab'[i % 2]}" for i in range(120))
    before = tmp_path / "before"
    before.mkdir()
    (before / "rows.csv").write_text(f"x,y,label\n{rows}\n")
    monkeypatch.chdir(before)
    model = package.train("mlp", "rows.csv", features="all", epochs=1, width=16)
    moved = tmp_path / "after"
    shutil.copytree(before, moved)
    shutil.copytree(model.path, moved / "model", dirs_exist_ok=True)
    shutil.rmtree(before)
    monkeypatch.chdir(moved)
    taken = list[str | None]()

    def origin(*arguments: Any) -> Origin:
        taken.append(arguments[2])
        raise UsageError("enough")

    monkeypatch.setattr(compressing, "origin_of", origin)
    with pytest.raises(UsageError, match="enough"):
        compress(str(moved / "model"), "onnx", Budgets(max_drop=50), files=Files(tmp_path / "a"))
    assert taken == [str(moved / "rows.csv")]
