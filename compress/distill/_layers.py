"""The mapping from a student's layers, or feature maps, to those of its teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from bmc.contracts.signals import View
from bmc.errors import SettingError

MAPS = ("auto", "uniform", "last")


def layers_of(layers: str, student: View, teacher: View) -> list[int]:
    """Return the index of the teacher's layer that each layer of the student learns from.

    Args:
        layers: "auto" (each feature map learns from the teacher's map of the nearest size; other
            layers are mapped as in "uniform"), or a value that `layer_map` takes.
        student: the student's view of a batch.
        teacher: the teacher's view of the same batch.

    Raises:
        SettingError: an index is out of range, or there is not one index for each layer of the
            student.
    """
    if layers == "auto" and student.maps:
        return _nearest_sizes(student.maps, teacher.maps)
    return layer_map(layers, student.depth(), teacher.depth())


def layer_map(layers: str, student: int, teacher: int) -> list[int]:
    """Return the index of the teacher's layer that each layer of the student learns from.

    Args:
        layers: "uniform" or "auto" (evenly spaced; the last layers match), "last" (the teacher's
            last layers), or indices separated by commas.
        student: number of the student's layers.
        teacher: number of the teacher's layers.

    Raises:
        SettingError: an index is out of range, or there is not one index for each layer of the
            student.
    """
    if layers in MAPS and student > teacher:
        raise SettingError(f"{student} layers cannot learn from {teacher}: name a map of layers")
    if layers in ("auto", "uniform"):
        return [round((layer + 1) * teacher / student) - 1 for layer in range(student)]
    if layers == "last":
        return list(range(teacher - student, teacher))
    parts = layers.split(",")
    indices = [int(part) if part.strip().isdecimal() else -1 for part in parts]
    if len(indices) != student or not all(0 <= index < teacher for index in indices):
        raise SettingError(
            f"the map of layers is {layers!r}; possible: {', '.join(MAPS)}, or {student} indices "
            f"in 0 to {teacher - 1} with commas"
        )
    return indices


def _nearest_sizes(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[int]:
    """Return for each map of the student the index of the teacher's map of the nearest size.

    Sizes are numbers of pixels, compared by their logarithms.
    """
    teacher_logs = [math.log(maps.shape[-2] * maps.shape[-1]) for maps in teacher]
    student_logs = [math.log(maps.shape[-2] * maps.shape[-1]) for maps in student]
    return [
        min(range(len(teacher_logs)), key=lambda index: abs(teacher_logs[index] - student_log))
        for student_log in student_logs
    ]
