"""`bmc show MODEL --recipe` writes the recipe that makes the same model again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import bmc as package
from bmc.artifact import WEIGHTS
from bmc.errors import UsageError
from bmc.files import sha256
from bmc.recipes.execute import run_plan
from bmc.recipes.expand import plan_of
from bmc.recipes.lineage import recipe_of
from bmc.recipes.reading import read_recipe
from bmc.recipes.runners import InProcess
from bmc.recipes.store import StepStore
from tests.cli._refusals import Run
from tests.recipes._texts import write


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_the_recipe_of_a_model_makes_the_same_weights_again(bmc: Run, home: Path) -> None:
    big = package.train("mlp", data="digits", epochs=1, width=16, output=home / "big")
    half = package.prune(big, ratio=0.5, epochs=1, distill=True, output=home / "half")
    both = package.distill(
        [big, half], student=half, data="digits", epochs=1, temperature=3.0, output=home / "both"
    )
    last = package.quantize(both, samples=16, output=home / "last")
    code, text, _ = bmc("show", "last", "--recipe")
    assert code == 0
    plan = plan_of(read_recipe(write(home, text, "again.toml")))
    assert [(step.name, step.verb, dict(step.inputs)) for step in plan.steps] == [
        ("big", "train", {}),
        ("half", "prune", {"model": "big"}),
        ("both", "distill", {"teacher": "big", "teacher_2": "half", "student": "half"}),
        ("last", "quantize", {"model": "both"}),
    ]
    store = StepStore()
    result = run_plan(plan, store, InProcess(store))
    made = {each.step.name: each.path for each in result.steps}
    for model in (half, both, last):
        path = made[model.path.name]
        assert path is not None
        assert sha256(path / WEIGHTS) == sha256(model.path / WEIGHTS)


def test_a_model_whose_calls_are_not_recorded_is_refused_with_the_reason(home: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 4)).astype(np.float32)
    wrapped = package.wrap(nn.Linear(4, 2), (rows, rows[:, 0] > 0), name="own")
    package.train(wrapped, epochs=1, output=home / "trained")
    with pytest.raises(UsageError, match=r"home/trained: .* was in memory"):
        recipe_of("trained")
    package.train("mlp", data="digits", epochs=1, width=16, output=home / "big")
    manifest = home / "big" / "bmc.json"
    content = json.loads(manifest.read_text())
    for calls, reason in (
        (None, "not recorded"),
        ([], "not recorded"),
        ([3], "damaged"),
        ([{"verb": "prune", "name": "x", "settings": {"method": "nm"}}], "prune followed"),
        ([{"verb": "train", "name": "x", "settings": {"model": "mlp", "no": 1}}], "not valid"),
        ([{"verb": "train", "settings": {}, "teachers": [{"bundle": True}]}], "is a bundle"),
    ):
        content["origin"]["calls"] = calls
        manifest.write_text(json.dumps(content))
        with pytest.raises(UsageError, match=reason):
            recipe_of("big")


def test_a_bundle_has_no_recipe_of_its_own(home: Path) -> None:
    big = package.train("mlp", data="digits", epochs=1, width=16, output=home / "big")
    big.to("onnx", output=home / "big-onnx")
    with pytest.raises(UsageError, match="name the model that it was exported from"):
        recipe_of("big-onnx")
