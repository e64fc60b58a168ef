"""How a finalist is trained in full: with as many unlabeled rows as the time allows."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bmc.contracts import families
from bmc.contracts.families import recipe_of
from bmc.data import Dataset
from bmc.inference.run import outputs_on_rows
from bmc.model import Model
from bmc.search.chain import NO_ROWS, Effort, Origin
from bmc.search.halving import full_epochs

_ROWS = (150_000, 100_000, 30_000, 10_000)
"""Numbers of unlabeled rows, the most first."""
_SHARE = 0.5  # of the time that is left, for each finalist: the first ones are the most promising
_BATCH = 32
_TIMED = 128  # rows that are answered to find out how fast the model answers


@dataclass(frozen=True)
class ShortTraining:
    """What a candidate's training at a rung took.

    Args:
        seconds: how long its steps took, the teacher's answers included.
        epochs: epochs of the training, at least 1.
        rows: rows that it learned from, labeled and unlabeled.
    """

    seconds: float
    epochs: int
    rows: int


@dataclass(frozen=True)
class FullTraining:
    """How finalists are trained.

    Args:
        epochs: epochs of fine-tuning.
        labeled: training rows of the data.
        rows_a_second: rows that the model, which teaches, answers in a second; 0 where there are no
            unlabeled rows to answer.
    """

    epochs: int
    labeled: int
    rows_a_second: float = 0.0

    def effort(self, short: ShortTraining | None, student: str, seconds: float) -> Effort:
        """Return how a finalist is trained.

        Args:
            short: what its training took at a rung; None where it was not trained, and where that
                is not known: it learns from no unlabeled rows then.
            student: name of the student that is distilled first; "" where there is none.
            seconds: time that is left for all finalists.
        """
        if student:
            rows = self._rows(short, recipe_epochs(student), _SHARE * seconds)
            return Effort(self.epochs, None, rows)
        return Effort(self.epochs, None, 0, self._rows(short, self.epochs, _SHARE * seconds))

    def _rows(self, short: ShortTraining | None, epochs: int, seconds: float) -> int:
        if short is None or not self.rows_a_second:
            return 0
        training = max(0.0, short.seconds - short.rows / self.rows_a_second)
        for_a_row = training / (short.epochs * short.rows)  # in each epoch
        for unlabeled in _ROWS:
            rows = self.labeled + unlabeled
            if rows / self.rows_a_second + for_a_row * epochs * rows <= seconds:
                return unlabeled
        return 0


def full_training(model: Model, data: Dataset, origin: Origin) -> FullTraining:
    """Return how finalists are trained; the model answers some rows, to find out how fast it is.

    Args:
        model: the model that is compressed, and teaches.
        data: its data.
        origin: what names its unlabeled rows.
    """
    epochs, labeled = full_epochs(model), len(data.train)
    if origin.unlabeled == NO_ROWS:
        return FullTraining(epochs, labeled)
    rows = data.train.rows[:_TIMED]
    started = time.monotonic()
    outputs_on_rows(model.module.cpu().eval(), model.encoder, rows, _BATCH)
    return FullTraining(epochs, labeled, len(rows) / (time.monotonic() - started))


def recipe_epochs(student: str) -> int:
    """Return the epochs of a student's recipe."""
    for family in families.families().values():
        for networks in (family.students, family.baselines):
            if student in networks:
                return recipe_of(family, student, networks[student], taught=True).epochs
    raise ValueError(f"no family has the student {student!r}")
