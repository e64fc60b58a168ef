"""`bmc prune`: what is refused before anything is loaded, what is searched, what fails its gate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bmc import artifact
from bmc import data as datasets
from bmc.files import sha256
from bmc.inspect import kept
from bmc.inspect.collect import costs_at
from bmc.models import gan, mlp
from bmc.workflows.budgets import Budget
from bmc.workspace import newest

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--precision", "fp32", "--device", "cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ratio", 1.5), "ratio is 1.5"),
        (("--ratio", 0), "ratio is 0"),
        (("--method", "depht"), "Did you mean 'depth'?"),
        (("--method", "_search"), "no prune method named '_search'"),
        (("--set", "critereon=l1"), "Did you mean 'criterion'?"),
        (("--set", "criterion=l3"), "criterion is 'l3'"),
        (("--set", "ratios=a"), "found by a search"),
        (("--set", "ratio"), "NAME=VALUE"),
        (("--method", "vocabulary", "--ratio", 0.5), "vocabulary has no --ratio"),
        (("--target-macs", "fewer"), "--target-macs is 'fewer'"),
        (("--target-params", "4x"), "0.25x is a quarter"),
        (("--target-size", "0.5x", "--ratio", 0.5), "leave one of them out"),
        (("--target-size", "0.5x", "--method", "unstructured"), "no use with unstructured"),
        (("--max-drop", 101), "max drop is 101"),
        (("--epochs", -1), "epochs is -1"),
        (("--transfer", "imdb"), "add --distill"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_2(
    bmc: Run, known: Path, workspace: Path, arguments: tuple[object, ...], message: str
) -> None:
    code, out, complaint = bmc("prune", known, *arguments)
    assert code == 2
    assert message in complaint
    assert len(complaint.splitlines()) == 1
    assert not out
    assert [path.name for path in workspace.iterdir()] == ["mlp"]


def test_a_family_without_repeated_layers_is_refused_with_the_reason(bmc: Run, known: Path) -> None:
    code, _, err = bmc("prune", known, "--method", "depth", *QUICK)
    assert code == 2
    assert "none in a mlp model" in err


def test_a_target_is_met_and_the_figures_are_those_of_the_file(
    bmc: Run, known: Path, workspace: Path
) -> None:
    options = ("--target-params", "0.5x", "--epochs", 1)
    code, out, err = bmc("prune", known, *options, *QUICK, "--json")
    assert code == 0, err
    content = json.loads(out)
    loaded = artifact.load(workspace / "mlp-structured")
    costs = costs_at(loaded, 32, runs=1)
    assert costs.parameters == content["after"]["parameters"] <= content["before"]["parameters"] / 2
    assert costs.macs == content["after"]["macs"] < content["before"]["macs"]
    (step,) = loaded.steps
    assert step.settings["ratios"].keys() == set(mlp.parts(loaded.module).layers)


def test_sensitivity_is_measured_once_and_shared_with_inspect(bmc: Run, known: Path) -> None:
    digits = datasets.load("digits")
    rows = digits.validation.rows
    drawn = [rows[place] for place in kept.drawn(len(rows), 512)]
    key = (known, kept.key_of(digits.fingerprint, drawn))
    assert kept.read(*key) is None
    options = ("--target-macs", "0.5x", "--epochs", 0, *QUICK)
    code, _, err = bmc("prune", known, *options)
    assert code == 0, err
    assert "measuring how much each layer matters" in err
    assert kept.read(*key) is not None
    code, _, err = bmc("prune", known, *options, "--force")
    assert code == 0, err
    assert "measuring how much each layer matters" not in err


def test_a_target_that_cannot_be_met_is_exit_1_and_the_nearest_is_kept_as_failed(
    bmc: Run, known: Path, workspace: Path
) -> None:
    code, _, err = bmc("prune", known, "--target-size", "64B", "--epochs", 1, *QUICK)
    assert code == 1
    failed = workspace / "mlp-structured.failed"
    reached = costs_at(artifact.load(failed), 32, runs=1)
    assert f"the nearest reached is {reached.bytes:,} bytes" in err
    assert f"Kept as {failed}" in err
    assert not (workspace / "mlp-structured").exists()
    assert newest("model").name == "mlp"


def test_max_drop_alone_finds_a_ratio_that_holds(bmc: Run, known: Path, workspace: Path) -> None:
    options = ("--max-drop", 8, "--epochs", 3, "--json", *QUICK)
    code, out, err = bmc("prune", known, *options)
    assert code == 0, err
    content = json.loads(out)
    assert content["after"]["parameters"] < content["before"]["parameters"]
    assert content["before"]["score"] - content["after"]["score"] <= 0.08
    assert artifact.load(workspace / "mlp-structured").steps[0].settings["ratios"]


def test_more_lost_than_max_drop_allows_is_exit_1_and_kept_as_failed(
    bmc: Run, known: Path, workspace: Path
) -> None:
    options = ("--ratio", 0.9, "--max-drop", 0.5, "--epochs", 0)
    code, _, err = bmc("prune", known, *options, *QUICK)
    assert code == 1
    assert "points of the validation score were lost; --max-drop allows 0.5" in err
    failed = artifact.load(workspace / "mlp-structured.failed")
    assert failed.steps[0].settings["ratio"] == 0.9
    assert failed.steps[0].settings["ratios"] == {}, "a ratio that was typed is not searched"
    assert not (workspace / "mlp-structured").exists()


def test_nothing_that_loses_so_little_is_refused(bmc: Run, known: Path, workspace: Path) -> None:
    options = ("--max-drop", 0, "--epochs", 0, "--set", "multiple=32")
    code, _, err = bmc("prune", known, *options, *QUICK)
    assert code == 2
    assert "--max-drop 0" in err
    assert not (workspace / "mlp-structured").exists()


def test_a_generator_meets_a_target(bmc: Run, workspace: Path) -> None:
    torch.manual_seed(0)
    digits = datasets.load("digits")
    model = gan.baseline("gan", digits, gan.Settings(width=32))
    model.data = {"reference": "digits", "fingerprint": digits.fingerprint}
    artifact.save(model, workspace / "gan")
    code, _, err = bmc("prune", "gan", "--target-params", "0.4x", "--epochs", 0, *QUICK)
    assert code == 0, err
    pruned = artifact.load(workspace / "gan-structured")
    before, after = (costs_at(each, 32, runs=1) for each in (model, pruned))
    assert not Budget("params", "0.4x").missed(before, after)


def test_a_step_that_undoes_zeros_says_so(bmc: Run, known: Path) -> None:
    assert bmc("prune", "mlp", "--method", "unstructured", "--epochs", 0)[0] == 0
    code, _, err = bmc("share", "mlp-unstructured", "--set", "energy=0.5", "--epochs", 0)
    assert code == 0
    assert "lowrank undid zeros of prune/unstructured" in " ".join(err.split())


def test_a_model_tuned_with_a_teacher_names_it_as_a_distilled_one_does(
    bmc: Run, known: Path
) -> None:
    assert bmc("prune", "mlp", "--distill", "--epochs", 1, *QUICK)[0] == 0
    teacher = artifact.describe(newest("model"))["origin"]["teacher"]
    assert teacher["name"] == "mlp"
    assert teacher["sha256"] == sha256(known / "model.safetensors")
    assert teacher["chosen"] == "itself"
    assert [each["reference"] for each in teacher["data"]] == ["digits"]


def test_a_teacher_that_saw_rows_which_are_held_out_here_is_refused(
    bmc: Run, known: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(known, tmp_path / "other"))
    text = (other / "bmc.json").read_text(encoding="utf-8")
    assert '"fold": null' in text
    (other / "bmc.json").write_text(text.replace('"fold": null', '"fold": [1, 5]'), "utf-8")
    code, _, err = bmc("prune", "mlp", "--teacher", other)
    assert code == 2
    assert "fold 1/5" in err
    assert "structured:" not in err


def test_a_teacher_that_is_not_there_is_said_before_anything_is_pruned(
    bmc: Run, known: Path
) -> None:
    code, _, err = bmc("prune", "mlp", "--teacher", "gone")
    assert code == 2
    assert "gone" in err
    assert "structured:" not in err
