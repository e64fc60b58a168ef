"""How a finalist is trained in full: with as many unlabeled rows as the time allows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from bmc.contracts import families
from bmc.contracts.families import recipe_of
from bmc.data import Dataset
from bmc.inference.run import outputs_on_rows
from bmc.model import Model
from bmc.search.chain import ALL_ROWS, Effort, ScoredRows

_ROWS = (150_000, 100_000, 70_000, 50_000, 30_000, 20_000, 10_000)
"""Numbers of unlabeled rows, the most first."""
_SHARE = 0.8  # of the finalists' time without the teacher's, for one
_BATCH = 32
_TIMED = 128  # rows that are answered to find out how fast the model answers


@dataclass(frozen=True)
class ShortTraining:
    """What a candidate's training at a rung took.

    Args:
        seconds: how long its steps took; most often the teacher's answers were kept before.
        epochs: epochs of the training, at least 1; of a student that was cut, those of both.
        rows: rows that it learned from, labeled and unlabeled.
        unlabeled: the unlabeled ones of them.
    """

    seconds: float
    epochs: int
    rows: int
    unlabeled: int = 0

    def without_what_both_take(self, shorter: ShortTraining) -> ShortTraining:
        """Return this training without what it takes whatever it learns from, such as scoring.

        Args:
            shorter: the training of the same candidate at the rung below.
        """
        rows = self.epochs * self.rows
        more = rows - shorter.epochs * shorter.rows
        longer = self.seconds - shorter.seconds
        return replace(self, seconds=longer / more * rows) if more > 0 and longer > 0 else self


@dataclass(frozen=True)
class FullTraining:
    """How finalists are trained.

    Args:
        epochs: epochs of fine-tuning.
        labeled: training rows of the data.
        seconds: time of all finalists together, and of the model's answers, which they share.
        rows_a_second: rows that the model, which teaches, answers in a second; 0 where there are no
            unlabeled rows to answer.
        scored: validation rows that score the steps.
    """

    epochs: int
    labeled: int
    seconds: float
    rows_a_second: float = 0.0
    scored: ScoredRows = ALL_ROWS

    def effort(self, short: ShortTraining | None, student: str, cut_after: int | None) -> Effort:
        """Return how a finalist is trained, the same whenever it is asked.

        Args:
            short: what its training took at a rung; None where it was not trained, and where that
                is not known: it learns from no unlabeled rows then.
            student: name of the student that is distilled first; "" where there is none.
            cut_after: epochs that a student learns before its structure is changed; None where no
                structure is changed after it.
        """
        rows = self._rows(short, self._epochs(student, cut_after))
        if student and cut_after is not None:  # as in the trial: what is cut depends on the weights
            return Effort(self.epochs, cut_after, rows, 0, self.scored, is_final=True)
        by_student, by_tuning = (rows, 0) if student else (0, rows)
        return Effort(self.epochs, None, by_student, by_tuning, self.scored, is_final=True)

    def seconds_of(
        self,
        short: ShortTraining | None,
        effort: Effort,
        student: str,
        cut_after: int | None,
        answered: int,
    ) -> float:
        """Estimate how long a finalist's training takes; 0 where nothing is known.

        Args:
            short: what its training took at a rung.
            effort: how it is trained.
            student: name of its student; "" where there is none.
            cut_after: epochs that a student learns before its structure is changed; None where no
                structure is changed after it.
            answered: unlabeled rows that the model has answered for an earlier finalist.
        """
        if short is None:
            return 0.0
        rows = max(effort.unlabeled, effort.unlabeled_tuning)
        training = self._training(short, self._epochs(student, cut_after), rows)
        return self._answering(max(rows - answered, 0)) + training

    def _epochs(self, student: str, cut_after: int | None) -> int:
        if not student:
            return self.epochs
        return recipe_epochs(student) if cut_after is None else cut_after + self.epochs

    def _rows(self, short: ShortTraining | None, epochs: int) -> int:
        if short is None or not self.rows_a_second:
            return 0
        fitting = (
            rows
            for rows in _ROWS
            if self._answering(rows) + self._training(short, epochs, rows) / _SHARE <= self.seconds
        )
        return max(next(fitting, 0), short.unlabeled)

    def _answering(self, rows: int) -> float:
        return rows / self.rows_a_second if self.rows_a_second else 0.0

    def _training(self, short: ShortTraining, epochs: int, unlabeled: int) -> float:
        for_a_row = short.seconds / (short.epochs * short.rows)  # in each epoch
        return for_a_row * epochs * (self.labeled + unlabeled)


def rows_a_second(model: Model, data: Dataset) -> float:
    """Return how many rows a model answers in a second in PyTorch, by some training rows."""
    rows = data.train.rows[:_TIMED]
    started = time.perf_counter()
    outputs_on_rows(model.module.cpu().eval(), model.encoder, rows, _BATCH)
    return len(rows) / (time.perf_counter() - started)


def recipe_epochs(student: str) -> int:
    """Return the epochs of a student's recipe."""
    for family in families.families().values():
        for networks in (family.students, family.baselines):
            if student in networks:
                return recipe_of(family, student, networks[student], taught=True).epochs
    raise ValueError(f"no family has the student {student!r}")
