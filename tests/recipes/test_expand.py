"""Sweeps and seeds become steps: each is made once, and inputs of one sweep are paired."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc.errors import SettingError, UnknownError, UsageError
from bmc.recipes.expand import plan_of
from bmc.recipes.plan import Plan, Step
from bmc.recipes.planning import timing_steps
from bmc.recipes.ray_task import needs_machine
from bmc.recipes.reading import read_recipe
from tests.recipes._texts import BASE, by_name, plan, write


def test_a_list_where_one_value_stands_is_a_sweep(tmp_path: Path) -> None:
    steps = by_name(plan(tmp_path, BASE + "ratio = [0.3, 0.5, 0.7]\nepochs = 0\n"))
    assert list(steps) == ["big", "small[ratio=0.3]", "small[ratio=0.5]", "small[ratio=0.7]"]
    assert steps["small[ratio=0.5]"] == Step(
        "small[ratio=0.5]", "prune", {"model": "big"}, {"epochs": 0, "ratio": 0.5}
    )


def test_a_setting_that_is_a_list_is_swept_in_the_table_sweep_alone(tmp_path: Path) -> None:
    one = by_name(plan(tmp_path, BASE + "settings.layers = ['a', 'b']\n"))
    assert one["small"].settings == {"settings": {"layers": ("a", "b")}}
    two = by_name(plan(tmp_path, BASE + "sweep.settings.layers = [['a'], ['a', 'b']]\n"))
    assert list(two) == ["big", "small[layers=a]", "small[layers=a+b]"]


def test_seeds_multiply_every_step_and_follow_its_inputs(tmp_path: Path) -> None:
    steps = by_name(plan(tmp_path, "seeds = [0, 1]\n" + BASE + "ratio = [0.3, 0.5]\n"))
    assert len(steps) == 6
    assert steps["small[ratio=0.3,seed=1]"].inputs == {"model": "big[seed=1]"}
    assert steps["small[ratio=0.3,seed=1]"].settings["seed"] == 1


def test_a_step_with_a_seed_of_its_own_is_made_once(tmp_path: Path) -> None:
    text = "seeds = [0, 1]\n" + BASE.replace("epochs = 1", "epochs = 1\nseed = 7")
    steps = by_name(plan(tmp_path, text))
    assert list(steps) == ["big", "small[seed=0]", "small[seed=1]"]


def test_two_inputs_of_one_sweep_are_paired_by_its_value(tmp_path: Path) -> None:
    text = BASE + "ratio = [0.3, 0.5]\n[steps.taught]\nverb = 'distill'\nstudent = 'small'\n"
    text += "teacher = 'wide'\n[steps.wide]\nverb = 'share'\nmodel = 'small'\n"
    steps = by_name(plan(tmp_path, text))
    assert [name for name in steps if name.startswith("taught")] == [
        "taught[small.ratio=0.3]",
        "taught[small.ratio=0.5]",
    ]
    assert steps["taught[small.ratio=0.5]"].inputs == {
        "teacher": "wide[small.ratio=0.5]",
        "student": "small[ratio=0.5]",
    }


def test_branches_are_a_sweep_over_steps(tmp_path: Path) -> None:
    text = BASE + "[steps.int8]\nverb = 'quantize'\nmodel = ['big', 'small']\n"
    steps = by_name(plan(tmp_path, text))
    assert steps["int8[model=small]"].inputs == {"model": "small"}


def test_several_teachers_have_commas_between_them(tmp_path: Path) -> None:
    text = BASE + "[steps.taught]\nverb = 'distill'\nteacher = 'big,small'\nstudent = 'mlp'\n"
    step = by_name(plan(tmp_path, text))["taught"]
    assert step.inputs == {"teacher": "big", "teacher_2": "small"}


def test_targets_export_every_model_or_those_named(tmp_path: Path) -> None:
    text = "targets = ['onnx', 'openvino']\n" + BASE + "ratio = [0.3, 0.5]\n"
    made = plan(tmp_path, text)
    assert len(made.bench) == 6
    assert "small-onnx[ratio=0.3]" in made.bench
    named = plan(tmp_path, text + "[export]\nsteps = ['small']\nallow_slower = true\n")
    assert len(named.bench) == 4
    assert by_name(named)["small-onnx[ratio=0.5]"] == Step(
        "small-onnx[ratio=0.5]",
        "export",
        {"model": "small[ratio=0.5]"},
        {"target": "onnx", "allow_slower": True},
    )


def test_the_bench_report_and_gates_are_those_of_the_file(tmp_path: Path) -> None:
    text = "targets = ['onnx']\nbench = false\nreport = false\ngates = ['size<=5MB']\n" + BASE
    made = plan(tmp_path, text)
    assert (made.bench, made.report, made.gates) == ((), None, ("size<=5MB",))
    made = plan(tmp_path, BASE + "[bench]\nthreads = [1]\n[report]\nfloor = false\n")
    assert (made.measurement, made.report) == ({"threads": (1,)}, {"floor": False})


def test_each_part_of_a_cross_validation_is_a_point(tmp_path: Path) -> None:
    text = BASE.replace('data = "digits"', "data = {data = 'digits', fold = ['1/3', '2/3']}")
    steps = by_name(plan(tmp_path, text))
    assert list(steps) == [
        *("big[fold=1/3]", "big[fold=2/3]", "small[fold=1/3]", "small[fold=2/3]")
    ]


def test_steps_stand_after_those_they_take_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    text = "data = 'digits'\n[steps.a]\nverb = 'prune'\nmodel = 'b'\n"
    text += "[steps.b]\nverb = 'train'\nmodel = 'mlp'\n"
    assert [step.name for step in plan(tmp_path, text).steps] == ["b", "a"]


def test_a_students_step_may_have_the_students_name(tmp_path: Path) -> None:
    text = BASE + "[steps.tiny]\nverb = 'distill'\nteacher = 'big'\nstudent = 'tiny'\n"
    step = by_name(plan(tmp_path, text))["tiny"]
    assert (step.inputs, step.settings["student"]) == ({"teacher": "big"}, "tiny")


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            "[steps.x]\nverb = 'prune'\nmodel = 'y'\n[steps.y]\nverb = 'share'\nmodel = 'x'\n",
            r"steps\.x is in a cycle of steps: x needs y needs x",
        ),
        ("[steps.x]\nverb = 'prune'\nmodel = 'x'\n", "x needs x"),
        ("[steps.x]\nverb = 'prune'\n", r"steps\.x has no model"),
        ("[steps.x]\nverb = 'distill'\n", r"steps\.x has no teacher"),
        ("[steps.x]\nverb = 'export'\nmodel = 'big'\n", r"steps\.x has no target"),
        ("[steps.x]\nverb = 'distill'\nteacher = 'bert'\n", "'bert', a model that is not trained"),
    ],
)
def test_a_graph_that_cannot_be_run_is_refused_by_name(
    tmp_path: Path, added: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan(tmp_path, BASE + added)


def test_a_model_that_is_no_step_and_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match=r"steps\.small\.model: .*'bigg'.* mean 'big'"):
        plan(tmp_path, BASE.replace('model = "big"', 'model = "bigg"'))


def test_a_step_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"steps\.big has no data"):
        plan(tmp_path, BASE.replace('data = "digits"', ""))


def test_a_value_out_of_range_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"steps\.small\.epochs: epochs is -1"):
        plan(tmp_path, BASE + "epochs = -1\n")


def test_many_steps_need_yes_and_the_message_has_their_number(tmp_path: Path) -> None:
    ratios = [round(number / 1000, 3) for number in range(1000)]
    million = BASE + f"ratio = {ratios}\nsettings.multiple = {list(range(1, 1001))}\n"
    recipe = read_recipe(write(tmp_path, "seeds = [0, 1]\n" + million))
    for most in (200, None):
        with pytest.raises(UsageError, match=r"2,000,002 steps \(small alone 2,000,000\)"):
            plan_of(recipe, most)
    recipe = read_recipe(write(tmp_path, million))
    asks = r"makes 1,000,001 steps \(small alone 1,000,000\), and 200 are made .*: --yes accepts"
    with pytest.raises(UsageError, match=asks):
        plan_of(recipe)
    recipe = read_recipe(write(tmp_path, BASE + f"ratio = {ratios[:200]}\n"))
    with pytest.raises(UsageError, match=r"makes 201 steps \(small alone 200\).* --yes"):
        plan_of(recipe)
    assert len(plan_of(recipe, most=None).steps) == 201


def test_the_steps_are_counted_as_they_are_made(tmp_path: Path) -> None:
    text = "seeds = [0, 1]\n" + BASE + "ratio = [0.3, 0.5]\n[steps.taught]\nverb = 'distill'\n"
    text += "teacher = ['big', 'wide']\nstudent = 'small'\ntemperature = [1, 2, 3]\n"
    text += "[steps.wide]\nverb = 'share'\nmodel = 'small'\n"
    recipe = read_recipe(write(tmp_path, text))
    made = len(plan_of(recipe).steps)
    assert made == 2 + 4 + 4 + 2 * 2 * 2 * 3
    with pytest.raises(UsageError, match=f"makes {made} steps"):
        plan_of(recipe, most=made - 1)


def test_the_bundle_of_an_onnx_file_is_timed_as_that_of_an_export() -> None:
    steps = (
        Step("base", "export", {}, {"model": "net.onnx", "target": "onnx"}),
        Step("int8", "quantize", {}, {"model": "net.onnx", "samples": "rows.npz"}),
        Step("small", "quantize", {}, {"model": "net"}),
    )
    assert [step.makes_bundle for step in steps] == [True, True, False]
    assert timing_steps(Plan("all", steps)) == {"base", "int8"}
    assert [needs_machine(step) for step in steps] == [True, True, False]
