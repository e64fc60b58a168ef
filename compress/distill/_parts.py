"""The parts of a distillation loss by name, and the agreement of student and teacher."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bmc.contracts.tasks import objective

AGREEMENT = "agreement"


class LossParts:
    """The parts of the last batch's loss, which training reports and records by epoch.

    Args:
        task: name of the task, which says when student and teacher predict the same.
    """

    def __init__(self, task: str = "classification") -> None:
        self._same = objective(task).same
        self._last: dict[str, Tensor] = {}

    def total(
        self, parts: Mapping[str, Tensor], student: Tensor, teacher: Tensor | None = None
    ) -> Tensor:
        """Return the sum of the parts, and keep each for `metrics`.

        Args:
            parts: weighted losses by name, scalars.
            student: the student's logits (rows, classes), or values (rows, 1).
            teacher: the teacher's logits or values, in the same shape; None if they are not
                learned.
        """
        self._last = {f"loss_{name}": part.detach() for name, part in parts.items()}
        if teacher is not None and student.shape[1] > 1 and self._same:
            same = self._same(student.detach(), teacher)
            self._last[AGREEMENT] = same.float().mean()
        return sum(parts.values(), start=student.new_zeros(()))

    def metrics(self) -> dict[str, float]:
        """Return the parts of the last batch's loss, and the agreement, as floats.

        The agreement is the fraction of rows for which student and teacher predict the same class.
        """
        return {name: float(value) for name, value in self._last.items()}
