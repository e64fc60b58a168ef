"""Parts of a loss of distillation, by name, and how often student and teacher agree."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

AGREEMENT = "agreement"


class LossParts:
    """The parts of the last batch's loss, as training says and records them by epoch."""

    def __init__(self) -> None:
        self._last: dict[str, Tensor] = {}

    def total(
        self, parts: Mapping[str, Tensor], student: Tensor, teacher: Tensor | None = None
    ) -> Tensor:
        """Return the sum of the parts, and keep each for `metrics`.

        Args:
            parts: scalars, as they are added up.
            student: logits (rows, classes), or values (rows, 1).
            teacher: likewise; None where its logits are not learned.
        """
        self._last = {f"loss_{name}": part.detach() for name, part in parts.items()}
        if teacher is not None and student.shape[1] > 1:
            same = student.detach().argmax(1) == teacher.argmax(1)
            self._last[AGREEMENT] = same.float().mean()
        return sum(parts.values(), start=student.new_zeros(()))

    def metrics(self) -> dict[str, float]:
        """Return the parts of the last batch's loss, and the share of rows with equal classes."""
        return {name: float(value) for name, value in self._last.items()}
