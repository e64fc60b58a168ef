"""Which of a teacher's layers, or feature maps, those of a student learn from."""

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
        layers: "auto" (feature maps learn from the teacher's of the nearest size, other layers as
            in "uniform"), or what `layer_map` takes.
        student: of one batch.
        teacher: of the same batch.

    Raises:
        SettingError: an index is out of range, or their number is another than the student's.
    """
    if layers == "auto" and student.maps:
        return _nearest_sizes(student.maps, teacher.maps)
    return layer_map(layers, student.depth(), teacher.depth())


def layer_map(layers: str, student: int, teacher: int) -> list[int]:
    """Return the index of the teacher's layer that each layer of the student learns from.

    Args:
        layers: "uniform" or "auto", "last", or indices with commas.
        student: number of the student's layers.
        teacher: number of the teacher's.

    Raises:
        SettingError: an index is out of range, or their number is another than the student's.
    """
    if layers in MAPS and student > teacher:
        raise SettingError(f"{student} layers cannot learn from {teacher}: name a map of layers")
    if layers in ("auto", "uniform"):
        return [round((place + 1) * teacher / student) - 1 for place in range(student)]
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
    """Return for each map of the student the teacher's whose number of pixels is most like its."""
    logs = [math.log(maps.shape[-2] * maps.shape[-1]) for maps in teacher]
    return [
        min(
            range(len(logs)),
            key=lambda index: abs(logs[index] - math.log(maps.shape[-2] * maps.shape[-1])),
        )
        for maps in student
    ]
