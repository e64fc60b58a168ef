"""What a search chooses from: read from families and techniques, and tried on the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bmc import artifact, processor
from bmc import data as datasets
from bmc.choices import Among, Between
from bmc.errors import SettingError
from bmc.models import resnet
from bmc.recipes.verbs import call_of
from bmc.search.chain import Effort, Origin, ScoredRows, steps_of, with_export
from bmc.search.exporting import without_test
from bmc.search.probe import space_of
from bmc.search.space import Option, Space

RATIO = Option("prune", "structured", {"ratio": Between(0.1, 0.9)})
CLUSTER = Option("share", "cluster", {"values": Among((4, 16))})
STATIC = Option("quantize", "static", {}, in_float=True)
TINY = Option("distill", "tiny")
SPACE = Space((TINY,), (RATIO, CLUSTER), (STATIC,), {"outputs": ("output",)})
ORIGIN = Origin("runs/base", {"data": "digits"})


class Fixed:
    """Draws what a table says; the first value or the middle of what it does not name."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self.values.get(name, (low + high) / 2))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self.values.get(name, (low + high) // 2))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self.values.get(name, choices[0])
        assert value in choices
        return value


class Exact(Fixed):
    """Draws what a table says; what it does not name is an error."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self.values[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.values[name]


def test_the_slots_give_the_order_of_the_techniques() -> None:
    drawn = SPACE.draw(Fixed(first="share/cluster", second="prune/structured", quantize="static"))
    assert drawn.shown() == "cluster(values=4), structured(ratio=0.5), static"
    drawn = SPACE.draw(Fixed(first="prune/structured", second="prune/structured"))
    assert drawn.shown() == "structured(ratio=0.5)"
    assert SPACE.draw(Fixed()).shown() == "the model as it is"


def test_layers_in_float_are_drawn_but_for_students_whose_layers_have_other_names() -> None:
    drawn = SPACE.draw(Fixed(quantize="static", in_float="outputs"))
    assert drawn.shown() == "static(in_float=output)"
    drawn = SPACE.draw(Fixed(start="tiny", quantize="static", in_float="outputs"))
    assert drawn.shown() == "tiny, static"


@pytest.mark.parametrize("saturates", [True, False])
def test_weights_have_the_bits_that_this_processor_computes_exactly(
    saturates: bool, digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "saturates_int8", lambda: saturates)
    space = space_of(digits_model, without_test(datasets.load("digits")), "onnx")
    drawn = {option.name: space.draw(Fixed(quantize=option.name)) for option in space.quantizations}
    bits = {
        name: drawn[name].parts[0].settings.get("weight_bits") for name in ("static", "dynamic")
    }
    assert bits == dict.fromkeys(bits, 7 if saturates else None)


def test_each_part_alone_has_the_parameters_of_a_candidate_with_it_and_nothing_else() -> None:
    drawn = [SPACE.draw(Fixed(**params)).shown() for params in SPACE.singles()]
    assert drawn == ["structured(ratio=0.5)", "cluster(values=4)", "tiny"]
    cut = SPACE.singles()[:2]
    assert all(params["second"] == "none" for params in cut)  # one that is missing is drawn


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"start": "tiny", "quantize": "static"},
        {"first": "prune/structured", "second": "share/cluster", "quantize": "static"},
        {"first": "share/cluster", "prune/structured.ratio": 0.3},
    ],
)
def test_a_candidate_is_drawn_again_from_its_parameters(params: dict[str, Any]) -> None:
    candidate = SPACE.draw(Fixed(**params))
    assert SPACE.draw(Exact(**SPACE.params_of(candidate))) == candidate


def test_a_candidate_without_its_last_part_is_what_was_there_before() -> None:
    drawn = SPACE.draw(Fixed(start="tiny", first="prune/structured", quantize="static"))
    words = [drawn.shown()]
    while drawn.parts:
        drawn = drawn.without_last()
        words.append(drawn.shown())
    assert words == [
        "tiny, structured(ratio=0.5), static",
        "tiny, structured(ratio=0.5)",
        "tiny",
        "the model as it is",
    ]


def test_only_the_last_structural_step_is_fine_tuned_and_the_model_teaches_it() -> None:
    drawn = SPACE.draw(Fixed(first="prune/structured", second="share/cluster", quantize="static"))
    steps = with_export(steps_of(drawn, ORIGIN, Effort(2, 1, 0), 3), ORIGIN, "onnx")
    assert [(step.verb, step.settings.get("epochs")) for step in steps] == [
        ("prune", 0),
        ("share", 2),
        ("quantize", None),
        ("export", None),
    ]
    assert steps[1].settings["teacher"] == "runs/base"
    assert steps[0].settings["model"] == "runs/base"
    assert [dict(step.inputs) for step in steps[1:]] == [
        {"model": step.name} for step in steps[:-1]
    ]
    for step in steps:
        call_of(step)  # every setting is one of the verb or the technique


def test_a_student_learns_little_in_a_short_trial_and_by_its_recipe_in_the_end() -> None:
    drawn = SPACE.draw(Fixed(start="tiny"))
    texts = Origin("runs/base", {"data": "imdb"}, "imdb")
    short = steps_of(drawn, texts, Effort(0, 1, 0), 0)[0]
    assert (short.settings["epochs"], short.settings["transfer"]) == (1, "none")
    some = steps_of(drawn, texts, Effort(1, 1, 500), 0)[0]
    assert (some.settings["transfer"], some.settings["transfer_size"]) == ("imdb", 500)
    full = steps_of(drawn, texts, Effort(3, None, 30_000), 0)[0]
    assert "epochs" not in full.settings
    none = steps_of(drawn, ORIGIN, Effort(3, None, 30_000), 0)[0]
    assert none.settings["transfer"] == "none"


def test_what_is_cut_of_a_student_is_trained_at_the_first_rung_as_the_student_is() -> None:
    taught = SPACE.draw(Fixed(start="tiny", first="prune/structured"))
    cut = SPACE.draw(Fixed(first="prune/structured"))
    first = Effort(0, 2, 0)
    assert [step.settings["epochs"] for step in steps_of(taught, ORIGIN, first, 0)] == [2, 2]
    assert [step.settings["epochs"] for step in steps_of(cut, ORIGIN, first, 0)] == [0]


def test_fine_tuning_learns_from_unlabeled_rows_that_the_model_answers() -> None:
    drawn = SPACE.draw(Fixed(first="prune/structured", quantize="static"))
    texts = Origin("runs/base", {"data": "imdb"}, "mine.txt")
    steps = steps_of(drawn, texts, Effort(3, None, 0, 10_000), 0)
    tuned = steps[0].settings
    assert (tuned["teacher"], tuned["transfer"]) == ("runs/base", "mine.txt")
    assert tuned["transfer_size"] == 10_000
    assert "validation_rows" not in tuned
    scored = ScoredRows(500, 200)
    few = steps_of(drawn, texts, Effort(3, None, 0, 10_000, scored), 0)
    assert [step.settings["validation_rows"] for step in few] == [500, 200]
    final = steps_of(drawn, texts, Effort(3, None, 0, 10_000, scored, is_final=True), 0)
    assert [step.settings["validation_rows"] for step in final] == [500, 500]
    call_of(few[0])
    for step in steps:
        call_of(step)


def test_a_technique_is_in_the_space_of_a_model_that_it_makes_smaller(digits_model: Path) -> None:
    data = without_test(datasets.load("digits"))
    space = space_of(digits_model, data, "onnx")
    names = {option.name for option in space.structural}
    assert {"structured", "lowrank"} <= names
    assert "makes this model neither smaller nor cheaper" in space.left_out["prune/unstructured"]
    assert (
        "reads text" in space.left_out["prune/vocabulary"]
        or "read text" in (space.left_out["prune/vocabulary"])
    )
    assert space.quantizations[0].name == "static"
    assert [option.name for option in space.students] == ["mlp"]
    assert space.in_float
    assert space.digest() == space_of(digits_model, data, "onnx").digest()


def test_a_ratio_removes_at_least_one_layer_and_leaves_those_that_must_stay(tmp_path: Path) -> None:
    data = without_test(datasets.load("digits"))
    model = resnet.baseline("resnet18", data, resnet.Settings(width=8))
    model.data = {"reference": "digits"}
    artifact.save(model, tmp_path / "resnet")
    space = space_of(tmp_path / "resnet", data, "onnx")
    depth = next(option for option in space.structural if option.name == "depth")
    ratios = depth.ranges["ratio"]
    assert isinstance(ratios, Between)
    removed = [int(ratio * 8 + 0.1) for ratio in (ratios.low, ratios.high)]
    assert removed == [1, 4], "4 of 8 blocks change the shape, and must stay"


def test_a_precision_that_the_target_cannot_execute_is_left_out(digits_model: Path) -> None:
    space = space_of(digits_model, without_test(datasets.load("digits")), "openvino")
    assert "openvino cannot execute" in space.left_out["quantize/dynamic"]


def test_ranges_with_nothing_to_try_are_refused() -> None:
    with pytest.raises(SettingError, match="nothing to try"):
        Between(1.0, 1.0)
    with pytest.raises(SettingError, match="nothing to choose"):
        Among(("a",))


def test_every_step_finds_data_that_was_moved() -> None:
    origin = Origin("runs/base", {"data": "new.csv"}, moved="new.csv")
    candidate = SPACE.draw(Fixed(start="tiny", first="prune/structured", quantize="static"))
    steps = with_export(steps_of(candidate, origin, Effort(1, 1, 0), 0), origin, "onnx")
    assert [step.verb for step in steps] == ["distill", "prune", "quantize", "export"]
    assert {step.settings.get("data") for step in steps} == {"new.csv"}
