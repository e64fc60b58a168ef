"""The JSON Schema by which editors complete a recipe says what bmc accepts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from bmc.errors import UsageError
from bmc.recipes.reading import recipe_from
from bmc.recipes.schema import schema, schema_text
from tests._pages import ROOT
from tests.recipes._texts import BASE


@pytest.fixture(scope="module")
def checker() -> Draft7Validator:
    Draft7Validator.check_schema(schema())
    return Draft7Validator(schema())


def test_the_committed_schema_is_that_of_the_code() -> None:
    committed = (ROOT / "docs" / "schemas" / "recipe.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "bmc recipe schema > docs/schemas/recipe.json"


@pytest.mark.parametrize(
    "added",
    [
        "ratio = 0.5",
        "ratio = [0.3, 0.5]",
        "sweep.settings.layers = [['a'], ['b']]",
        "settings.criterion = ['l1', 'taylor']",
        "method = ['structured', 'depth']\nsettings.layers = 'a'",
        "method = 'nm'\nsettings.pattern = '2:4'",
        "target_macs = 5000",
        "[steps.taught]\nverb = 'distill'\nteacher = 'big'\nstudent = ['tiny', 'small']",
        "[steps.other]\nverb = 'export'\nmodel = 'big'\ntarget = ['onnx', 'openvino']",
        "[bench]\nthreads = 1\n[report]\nfloor = false",
        "[steps.own]\nverb = 'train'\nmodel = 'hf:org/name'\nsettings.anything = 3",
    ],
)
def test_what_bmc_accepts_fits(checker: Draft7Validator, added: str, tmp_path: Path) -> None:
    document: dict[str, Any] = tomllib.loads(BASE + added)
    recipe_from(document, "recipe.toml")
    checker.validate(document)


@pytest.mark.parametrize(
    "added",
    [
        "rato = 0.5",
        "ratio = 'half'",
        "ratio = []",
        "ratio = [0.3, 0.3]",
        "settings.criterium = 'taylor'",
        "settings.pattern = '2:4'",
        "method = 'structurd'",
        "[steps.other]\nverb = 'sparsify'",
        "[steps.other]\nmodel = 'big'",
        "[bench]\nlaunchs = 3",
        "[report]\ngate = 'size<=5MB'",
        "[other]",
    ],
)
def test_what_bmc_refuses_is_marked_by_an_editor(checker: Draft7Validator, added: str) -> None:
    document: dict[str, Any] = tomllib.loads(BASE + added)
    with pytest.raises(UsageError):
        recipe_from(document, "recipe.toml")
    assert not checker.is_valid(document)
