"""The steps that teach a student: which signals are learned, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bmc.compress.distill.logits import Logits
from bmc.compress.distill.weighted import LOGITS, Weighted, is_with_logits
from bmc.model import Step
from bmc.workflows.teachers import Teacher
from bmc.workflows.tuning import Distillation


def steps_of(settings: Distillation, teachers: Sequence[Teacher]) -> list[tuple[str, Step]]:
    """Return the steps that teach a student, in order, each with its method.

    Args:
        settings: what is learned.
        teachers: whose logits are learned; the signals are the first one's.

    Raises:
        SettingError: a setting is out of range, or the weights of all signals are 0.
        UnknownError: there is no such signal.
    """
    (teacher, sha256), *more = [(str(each.folder), each.sha256) for each in teachers]
    logits = Logits(
        teacher,
        sha256,
        settings.temperature,
        settings.hard_label_weight,
        tuple(more),
        settings.teacher_average,
        settings.teacher_weights,
    )
    weights = settings.weights()
    if not weights:
        return [("distill/logits", logits)]
    together = settings.signal_order == "together"
    beside = {name: each for name, each in weights.items() if together or is_with_logits(name)}
    before = {name: each for name, each in weights.items() if name not in beside}

    def weighted(weights: Mapping[str, float], epochs: int) -> tuple[str, Step]:
        step = Weighted(
            teacher,
            sha256,
            weights,
            settings.layer_map,
            settings.temperature,
            settings.hard_label_weight,
            epochs,
            tuple(more),
            settings.teacher_average,
            settings.teacher_weights,
        )
        return "distill/weighted", step

    first = [weighted(before, settings.signal_epochs)] if before else []
    if not beside:
        return [*first, ("distill/logits", logits)]
    return [*first, weighted({LOGITS: 1.0, **beside}, 0)]
