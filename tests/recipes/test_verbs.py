"""The settings of a step: split among the settings classes of its verb, and refused early."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc.errors import ArtifactError, SettingError, UnknownError, UsageError
from bmc.recipes.plan import Step
from bmc.recipes.running import check_step, run_step
from bmc.recipes.verbs import call_of
from bmc.training.settings import TrainingSettings
from bmc.trust import trusting
from bmc.workflows.data import DataSource
from bmc.workflows.options import Architecture, Pruning
from bmc.workflows.tuning import Distillation, Tuning


def test_settings_are_split_among_the_classes_of_the_verb() -> None:
    settings = {"model": "mlp", "data": "digits", "epochs": 2, "width": 8, "fold": "2/5"}
    call = call_of(Step("small", "train", settings=settings))
    assert call.models == {"model": "mlp"}
    assert call.changes[TrainingSettings] == {"epochs": 2}
    assert call.of(DataSource).data == "digits"
    assert call.of(DataSource).fold.of == 5
    assert call.of(Architecture).by_name() == {"width": 8}


def test_what_no_class_has_belongs_to_the_technique() -> None:
    settings = {"method": "structured", "ratio": 0.5, "criterion": "taylor", "epochs": 1}
    call = call_of(Step("half", "prune", {"model": "big"}, settings))
    assert call.of(Pruning).settings == {"criterion": "taylor"}
    assert call.of(Tuning).epochs == 1


def test_several_teachers_are_inputs_of_a_distillation() -> None:
    inputs = {"teacher": "big", "teacher_2": "other"}
    call = call_of(Step("taught", "distill", inputs, {"student": "mlp", "vocabulary": 2000}))
    assert call.of(Distillation).vocabulary == "2000"
    assert not {"teacher", "teacher_2"} & call.models.keys()


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (Step("a", "exprt"), UnknownError, "Did you mean 'export'"),
        (Step("a", "prune"), UsageError, "names no model"),
        (Step("a", "prune", {"model": "b"}, {"model": "c"}), UsageError, "leave one out"),
        (Step("a", "prune", {"modle": "b"}, {}), UnknownError, "Did you mean 'model'"),
        (Step("a", "prune", {"model": "b"}, {"ratio": "half"}), SettingError, "number"),
        (Step("a", "prune", {"model": "b"}, {"output": "c"}), UsageError, "leave it out"),
        (Step("a", "export", {"model": "b"}), UsageError, "names no target"),
        (Step("a", "export", {"model": "b"}, {"target": "onnx,openvino"}), UsageError, "2 targets"),
        (Step("a", "export", {"model": "b"}, {"opst": 1}), UnknownError, "Did you mean 'opset'"),
    ],
)
def test_a_wrong_step_is_refused_before_anything_runs(
    step: Step, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        call_of(step)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (Step("a", "train", settings={"model": "mlp", "epchs": 1}), "Did you mean 'epochs'"),
        (Step("a", "distill", {"teacher": "b"}, {"student": "mlp", "widht": 1}), "'width'"),
        (Step("a", "prune", {"model": "b"}, {"criterium": "l1"}), "Did you mean 'criterion'"),
        (Step("a", "share", {"model": "b"}, {"method": "lowrnk"}), "Did you mean 'lowrank'"),
    ],
)
def test_an_unknown_setting_is_refused_before_its_input_exists(step: Step, says: str) -> None:
    with pytest.raises(UnknownError, match=says):
        check_step(step)


def test_a_recipe_runs_no_code_that_was_not_named_on_the_command_line(tmp_path: Path) -> None:
    step = Step("own", "train", settings={"model": "python:net:build", "data": "digits"})
    with trusting(), pytest.raises(ArtifactError, match="--code net:build"):
        run_step(step, {}, tmp_path / "own")
    assert not (tmp_path / "own").exists()
