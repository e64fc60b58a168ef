"""`bmc run` and `bmc recipe`: a recipe runs once, says what it will do, and is written by bmc."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

import bmc as package
from bmc.errors import SettingError, UsageError
from bmc.recipes.expand import plan_of
from bmc.recipes.options import PURPOSES, RunOptions
from bmc.recipes.reading import read_recipe
from bmc.recipes.toml import toml_of
from tests.cli._refusals import Run, refused
from tests.recipes._texts import BASE, write

SMALL = """\
data = "digits"
targets = ["onnx"]
bench = false
report = false

[steps.big]
verb = "train"
model = "mlp"
epochs = 1
settings.width = 16

[steps.small]
verb = "prune"
model = "big"
ratio = [0.3, 0.5]
epochs = 0

[export]
steps = ["small"]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_runs_once_and_its_results_are_handles_and_judged(bmc: Run, home: Path) -> None:
    path = write(home, SMALL)
    code, out, _ = bmc("run", path, "--dry-run", "--json")
    assert code == 0
    before = json.loads(out)
    assert before["seconds"] is None
    assert [step["cached"] for step in before["steps"]] == [False] * 5
    code, out, _ = bmc("run", path, "--json", "--workers", "1")
    assert code == 0
    assert {step["state"] for step in json.loads(out)["steps"]} == {"done"}
    code, out, _ = bmc("run", path, "--dry-run")
    assert code == 0
    assert "5 steps, 5 of them cached" in out
    code, out, _ = bmc("run", path, "--dry-run", "--redo", "small", "--json")
    assert [step["cached"] for step in json.loads(out)["steps"]] == [True, False, False, True, True]
    handles = package.run(path)
    assert list(handles) == [step["name"] for step in before["steps"]]
    assert isinstance(handles["small[ratio=0.5]"], package.ModelHandle)
    assert handles["small-onnx[ratio=0.5]"].scores["accuracy"]["value"] > 0
    # a gate that fails is exit 1, and nothing is made again
    gates = SMALL.replace("report = false", "gates = ['accuracy>=0.999']\nreport.floor = false")
    code, out, err = bmc("run", write(home, gates), "--json")
    assert code == 1
    assert "accuracy>=0.999 failed" in err
    content = json.loads(out)
    assert {step["state"] for step in content["steps"]} == {"cached"}
    assert [failed["check"] for failed in content["failed"]] == ["gate", "gate"]
    assert content["report"]


def test_a_value_that_a_technique_refuses_is_refused_with_its_place_before_anything_runs(
    bmc: Run, home: Path
) -> None:
    for line, place in (
        ("ratio = 1.5", "steps.small.ratio"),
        ("settings.criterion = 'none'", "steps.small.settings.criterion"),
    ):
        path = write(home, BASE + line + "\n")
        refused(bmc("run", path), place)
    assert not list((home / "home").glob("*"))


def test_many_steps_are_refused_with_their_number(bmc: Run, home: Path) -> None:
    path = write(home, BASE + f"settings.multiple = {list(range(1, 300))}\n")
    refused(bmc("run", path, "--dry-run"), "300 steps", "--yes")


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(
    ("model", "data"), [("mlp", "digits"), ("bert", "reviews.csv"), ("lstm", "japanese-vowels")]
)
def test_a_recipe_that_bmc_writes_has_a_plan(
    bmc: Run, home: Path, reviews_csv: Path, purpose: str, model: str, data: str
) -> None:
    (home / "reviews.csv").write_bytes(reviews_csv.read_bytes())
    code, _, err = bmc(
        *("recipe", "init", "--model", model, "--data", data, "--purpose", purpose),
        *("-o", "mine.toml", "--quiet"),
    )
    assert (code, err) == (0, "")
    text = Path("mine.toml").read_text(encoding="utf-8")
    schema = text.splitlines()[0].removeprefix("#:schema ")
    assert json.loads(Path(schema).read_text(encoding="utf-8"))["title"] == "bmc recipe"
    plan = plan_of(read_recipe("mine.toml"))
    assert len(plan.bench) >= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--model does"),
        (("--model", "mlp"), "--data does"),
        (("--model", "mlp", "--data", "digits"), "--purpose does"),
        (("--model", "mpl"), "Did you mean 'mlp'"),
        (("--model", "gan"), "write the recipe by hand"),
        (("--model", "bert", "--data", "digits", "--purpose", "faster"), "bert takes text"),
        (("--model", "mlp", "--data", "digit", "--purpose", "faster"), "Did you mean 'digits'"),
        (("--output", "recipe.yaml"), ".toml"),
    ],
)
def test_an_answer_that_leads_nowhere_is_refused(
    bmc: Run, home: Path, options: tuple[str, ...], said: str
) -> None:
    refused(bmc("recipe", "init", *options), said)
    assert not Path("recipe.toml").exists()


def test_a_recipe_that_exists_is_kept(bmc: Run, home: Path) -> None:
    write(home, BASE)
    refused(bmc("recipe", "init"), "recipe.toml exists", "--force")


def test_the_schema_is_printed(bmc: Run, home: Path) -> None:
    code, out, _ = bmc("recipe", "schema")
    assert code == 0
    assert json.loads(out)["required"] == ["steps"]


def test_what_is_written_as_toml_reads_the_same() -> None:
    document = {
        "name": 'quote " back \\ line\n \x7f é',
        "numbers": [1, 1.5, 1e-05, True],
        "data": {"data": "a.csv", "text_column": ["a", "b"]},
        "steps": {
            "a": {"verb": "train", "settings": {"width": 3}, "sweep": {"settings": {"x": [[1]]}}},
            "odd name": {"preprocess": {}},
        },
    }
    assert tomllib.loads(toml_of(document, {"steps.a": "a comment"})) == document


def test_python_refuses_a_recipe_that_is_not_there(home: Path) -> None:
    with pytest.raises(UsageError, match="no recipe"):
        package.run(home / "none.toml")


def test_no_worker_and_no_thread_are_refused() -> None:
    with pytest.raises(SettingError, match="workers is 0; it must be at least 1"):
        RunOptions(workers=0)
    with pytest.raises(SettingError, match="threads is -1; it must be at least 1"):
        RunOptions(threads=-1)
