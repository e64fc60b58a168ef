"""Every task: described without torch, and what it trains on follows the contract."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from bmc.contracts import tasks
from bmc.contracts.tasks import OBJECTIVES, TASKS, Objective, Task
from bmc.errors import UnknownError

LABELS = ("no", "yes", "perhaps")
SPEC = {"channels": 1, "height": 4, "width": 4, "vector": {"width": 5}}


def test_descriptions_import_no_torch() -> None:
    code = (
        "import sys\n"
        "from bmc.contracts.tasks import TASKS\n"
        "TASKS.usable()\n"
        "print({'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_their_names_are_listed_without_importing_numpy() -> None:
    code = (
        "import sys\n"
        "from bmc.contracts.tasks import labeled_tasks\n"
        "labeled_tasks()\n"
        "print({'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownError, match="Did you mean 'regression'"):
        tasks.task("regresion")


@pytest.mark.parametrize("name", TASKS.names())
def test_a_bundle_accepts_the_output_shape_of_its_task(name: str) -> None:
    task = tasks.task(name)
    assert isinstance(task, Task)
    shape = task.row_shape(LABELS, SPEC)
    task.check_output(LABELS, ("batch", *shape))
    if name == tasks.TENSORS:  # an ONNX file's outputs have any shape
        return
    with pytest.raises(ValueError, match=r"of shape|have shape"):
        task.check_output(LABELS, ("batch", 7, 7))


@pytest.mark.parametrize("name", TASKS.names())
def test_a_row_with_an_output_that_is_not_finite_has_no_prediction(name: str) -> None:
    task = tasks.task(name)
    sizes = [size for size in task.row_shape(LABELS, SPEC) if isinstance(size, int)]
    outputs = np.ones((2, *sizes), np.float32)
    outputs[1] = np.nan
    first, second = task.predictions(outputs, LABELS, ())
    assert first is not None
    assert second is None


def test_every_task_with_labels_and_no_other_has_an_objective() -> None:
    assert OBJECTIVES.names() == tasks.labeled_tasks()
    assert tasks.labeled_tasks() == [name for name in TASKS.names() if tasks.task(name).has_labels]


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_equal_outputs_of_student_and_teacher_cost_nothing(name: str) -> None:
    objective = tasks.objective(name)
    assert isinstance(objective, Objective)
    width = tasks.task(name).row_shape(LABELS, SPEC)[-1]
    assert isinstance(width, int)
    outputs = torch.full((1, width), 0.5)
    assert float(objective.soft_loss(outputs, outputs, 2.0)) == pytest.approx(0, abs=1e-6)
    assert objective.divergence(outputs, outputs).tolist() == pytest.approx([0], abs=1e-6)
    assert (objective.same is None) == (tasks.task(name).classes is None)
