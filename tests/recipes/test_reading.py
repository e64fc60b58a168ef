"""A recipe is checked where it is read: each wrong key or value is refused with its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bmc.errors import UnknownError, UsageError
from bmc.recipes.reading import read_recipe
from tests.recipes._texts import BASE, plan, write

YAML = """\
data: digits
steps:
  big: {verb: train, model: mlp, epochs: 1}
  small:
    verb: prune
    model: big
    learning_rate: 1e-3
    ratio: [0.3, 0.5]
"""


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("rato = 0.5", r"steps\.small: no setting of prune named 'rato'\. Did you mean 'ratio'"),
        ("lr = 0.1", r"steps\.small: .* named 'lr'\. Did you mean 'learning_rate'"),
        ("criterion = 'taylor'", r"steps\.small\.criterion: structured .* settings\.criterion"),
        ("settings.criterium = 'taylor'", r"steps\.small\.settings: .* 'criterion'"),
        ("method = 'structurd'", r"steps\.small\.method: .* Did you mean 'structured'"),
        ("[steps.other]\nverb = 'sparsify'", r"steps\.other\.verb: .* Did you mean 'prune'"),
        ("[benchmark]", r"no key of a recipe named 'benchmark'. Did you mean 'bench'"),
        ("[bench]\nlaunchs = 3", r"bench: .* Did you mean 'launches'"),
        ("[report]\nflor = false", r"report: .* Did you mean 'floor'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_near_one(
    tmp_path: Path, added: str, message: str
) -> None:
    with pytest.raises(UnknownError, match=message):
        read_recipe(write(tmp_path, BASE + added))


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("ratio = 'half'", r"recipe\.toml: steps\.small\.ratio is 'half'; it must be a number"),
        ("ratio = [0.3, 'half']", r"steps\.small\.ratio\[1\] is 'half'"),
        ("ratio = nan", r"steps\.small\.ratio is nan; it must be a finite number"),
        ("epochs = 1.5", r"steps\.small\.epochs is 1\.5; it must be a whole number"),
        ("distill = 'yes'", r"steps\.small\.distill is 'yes'; it must be true or false"),
        ("settings.criterion = true", r"steps\.small\.settings\.criterion is True"),
        ("[bench]\nlaunches = 1", r"bench: launches is 1"),
        ("[bench]\nlaunches = [5, 6]", r"bench\.launches takes one value"),
        ("[steps.x]\nverb = 3", r"steps\.x\.verb"),
        ("sweep.ratio = 0.3", r"steps\.small\.sweep\.ratio is 0\.3; a sweep is a list"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path: Path, added: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(write(tmp_path, BASE + added))


@pytest.mark.parametrize(
    "text",
    [
        "gates = ['acuracy>=0.8']\n",
        "targets = ['onx']\n",
        "seeds = [0, 0]\n",
        "seeds = []\n",
        "export = {max_batch = 4}\n",
        "",
        "steps = 3\n",
    ],
)
def test_a_wrong_table_at_the_top_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"recipe\.toml"):
        read_recipe(write(tmp_path, text + (BASE if text and "steps" not in text else "")))


@pytest.mark.parametrize("added", ["ratio = []", "sweep = {}", "sweep.ratio = []"])
def test_a_sweep_of_zero_points_is_refused(tmp_path: Path, added: str) -> None:
    with pytest.raises(UsageError, match=r"steps\.small.* zero points"):
        read_recipe(write(tmp_path, BASE + added))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (BASE + "[steps.big]\nverb = 'train'\n", "recipe.toml"),
        (BASE + "model = 'big'\n", "recipe.toml"),
        (YAML + "  big: {verb: train, model: mlp}\n", "recipe.yaml"),
        (YAML + "data: movie-reviews\n", "recipe.yml"),
        (BASE + "ratio = 0.5\nsweep.ratio = [0.3]\n", "recipe.toml"),
        ("targets = ['onnx']\n" + BASE + "[steps.big-onnx]\nverb = 'train'\n", "recipe.toml"),
    ],
)
def test_a_name_used_twice_is_refused(tmp_path: Path, text: str, name: str) -> None:
    with pytest.raises(UsageError, match=r"recipe\.\w+.*(twice|once)"):
        read_recipe(write(tmp_path, text, name))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("steps = \nx = 1", "recipe.toml", "not valid TOML: .*line 1"),
        ("a: [", "recipe.yaml", "recipe.yaml, line 1"),
        ("a: &b 1\nc: *b\n", "recipe.yaml", r"line 2: a recipe takes no aliases"),
        ("a: !!python/object:os.system {}\n", "recipe.yaml", "line 1"),
        ("? [a]\n: 1\n", "recipe.yaml", "line 1: a name is a text, not a list"),
        ("- 1\n", "recipe.yaml", "no table"),
        ("{}", "recipe.json", "ends with '.json'"),
        ("x: " + "[" * 3000, "recipe.yaml", "recipe.yaml"),
        ("x = " + "[" * 3000, "recipe.toml", "TOML"),
        ("a = '" + "x" * 1_000_001 + "'", "recipe.toml", "at most 1 MB"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(
    tmp_path: Path, text: str, name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(write(tmp_path, text, name))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match="bmc recipe init"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        read_recipe(tmp_path / "folder.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        read_recipe(tmp_path / "bytes.toml")


def test_yaml_and_toml_make_the_same_plan(tmp_path: Path) -> None:
    toml = BASE + "learning_rate = 1e-3\nratio = [0.3, 0.5]\n"
    assert plan(tmp_path, toml).steps == plan(tmp_path, YAML, "recipe.yaml").steps


def test_numbers_stand_for_texts_and_one_value_for_a_list(tmp_path: Path) -> None:
    recipe = read_recipe(
        write(tmp_path, BASE + "target_macs = 5000\nsettings.layers = 'fc1'\ntransfer_column = 'a'")
    )
    assert recipe.steps[1].values.fixed == {
        "model": "big",
        "target_macs": "5000",
        "settings.layers": ("fc1",),
        "transfer_column": ("a",),
    }


def test_a_recipe_is_planned_without_torch(tmp_path: Path) -> None:
    path = write(tmp_path, BASE + "settings.criterion = ['l1', 'taylor']\n")
    code = (
        "import sys; from bmc.recipes.reading import read_recipe; "
        "from bmc.recipes.expand import plan_of; "
        f"assert len(plan_of(read_recipe({str(path)!r})).steps) == 3; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_swept_setting_must_be_one_of_each_swept_method(tmp_path: Path) -> None:
    both = BASE + "method = ['structured', 'depth']\n"
    assert len(plan(tmp_path, both + "settings.layers = ['a']").steps) == 3
    with pytest.raises(UnknownError, match="no setting of depth named 'criterion'"):
        read_recipe(write(tmp_path, both + "settings.criterion = 'l1'"))
