"""Distillation: what a student starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from bmc import artifact
from bmc.data import Dataset
from bmc.model import Model
from bmc.models import bert
from bmc.workflows.distill import untrained_student


def test_a_students_fresh_weights_depend_on_the_seed_and_the_teacher_alone(
    make_lively: Callable[..., Model], reviews: Dataset, tmp_path: Path
) -> None:
    folder = artifact.save(make_lively(), tmp_path / "teacher")
    size = bert.Size(layers=1, hidden=16, heads=2)
    teacher = artifact.load(folder)
    torch.manual_seed(3)
    expected = bert.student(teacher, size).module.state_dict()
    student, _ = untrained_student(folder, size, reviews, seed=3)
    assert all(
        torch.equal(value, expected[name]) for name, value in student.module.state_dict().items()
    )
