"""The recipes of examples/recipes have a plan, fit the schema, and run on slices of their data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from bmc.recipes.document import read_document
from bmc.recipes.execute import run_plan
from bmc.recipes.expand import plan_of
from bmc.recipes.reading import read_recipe, recipe_from
from bmc.recipes.runners import InProcess
from bmc.recipes.store import StepStore
from tests._pages import ROOT, prepare
from tests._recipes import sliced

RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.*ml"))
IDS = [path.name for path in RECIPES]
SLICES = [
    pytest.param(path, id=path.name, marks=() if path.suffix == ".yaml" else pytest.mark.slow)
    for path in RECIPES
]
_ELSEWHERE = ("openvino", "pytorch", "tensorrt")  # tests/export runs these


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path) -> Path:
    folder = tmp_path_factory.mktemp("user")
    prepare(folder, reviews_csv, [])
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=IDS)
def test_a_recipe_has_a_plan_and_an_editor_marks_nothing(path: Path) -> None:
    document = read_document(path)
    schema = json.loads((ROOT / "docs" / "schemas" / "recipe.json").read_text(encoding="utf-8"))
    Draft7Validator(schema).validate(document)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert (path.parent / first.replace("=", " ").split()[-1]).resolve().name == "recipe.json"
    assert len(plan_of(read_recipe(path)).bench) >= 2


@pytest.mark.parametrize("path", SLICES)
def test_a_recipe_runs_on_a_slice_of_its_data(
    path: Path, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user)
    monkeypatch.delenv("BMC_HOME", raising=False)
    document = sliced(path)
    document.update({"targets": ["onnx"], "bench": False, "report": False})
    document["steps"] = {
        name: step
        for name, step in document["steps"].items()
        if step.get("target") not in _ELSEWHERE
    }
    document["export"]["steps"] = [list(document["steps"])[-1]]
    store = StepStore()
    plan = plan_of(recipe_from(document, path.name, path.stem))
    result = run_plan(plan, store, InProcess(store))
    result.raise_failures()
    assert {each.state for each in result.steps} <= {"done", "cached"}
