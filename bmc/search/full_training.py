"""How a finalist is trained in full: with as many unlabeled rows as the time allows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bmc.contracts import families
from bmc.contracts.families import recipe_of
from bmc.data import count_of_spaced
from bmc.search.chain import ALL_ROWS, Effort, ScoredRows

_ROWS = (150_000, 100_000, 70_000, 50_000, 30_000, 20_000, 10_000)
"""Numbers of unlabeled rows, the most first; each with all labeled rows."""
_SHARE = 0.8  # of the finalists' time without the teacher's, for one
_HALVINGS = 7  # of the labeled rows, where all of them would take too long


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
class Trained:
    """What of a candidate is trained.

    Args:
        student: name of the student that is distilled first; "" where there is none.
        cut_after: epochs that a student learns before its structure is changed, or any number where
            the model's own is changed; None where no structure is changed.
        has_qat: whether its quantization trains.
    """

    student: str = ""
    cut_after: int | None = None
    has_qat: bool = False

    def epochs(self, of_tuning: int) -> int:
        """Return the epochs of all its trainings in full.

        Args:
            of_tuning: epochs of a fine-tuning.
        """
        is_cut = self.cut_after is not None
        tuned = of_tuning * (is_cut + self.has_qat)
        if not self.student:
            return tuned
        return tuned + ((self.cut_after or 0) if is_cut else recipe_epochs(self.student))


@dataclass(frozen=True)
class FullTraining:
    """How finalists are trained.

    Args:
        epochs: epochs of fine-tuning.
        labeled: training rows of the data.
        seconds: time of all finalists together, and of the model's answers, which they share.
        rows_a_second: rows that the model, which teaches, answers in a second; 0 where that is not
            known.
        learned_a_second: rows that a candidate learns from in a second, roughly, where its trial
            trained nothing; 0 where that is not known.
        scored: validation rows that score the steps.
        has_unlabeled: whether there are unlabeled rows.
    """

    epochs: int
    labeled: int
    seconds: float
    rows_a_second: float = 0.0
    learned_a_second: float = 0.0
    scored: ScoredRows = ALL_ROWS
    has_unlabeled: bool = True

    def effort(self, short: ShortTraining | None, trained: Trained) -> Effort:
        """Return how a finalist is trained, the same whenever it is asked.

        Args:
            short: what its training took at a rung; None where it was not trained, and where that
                is not known.
            trained: what of it is trained.
        """
        labeled, rows = self._rows(short, trained)
        return Effort(
            self.epochs,
            # As in the trial: what is cut of a student depends on its weights.
            trained.cut_after if trained.student else None,
            rows if trained.student else 0,
            0 if trained.student else rows,
            self.scored,
            is_final=True,
            labeled=labeled if labeled < self.labeled else None,
        )

    def seconds_of(
        self, short: ShortTraining | None, trained: Trained, effort: Effort, answered: int
    ) -> float:
        """Estimate how long a finalist's training takes; 0 where nothing is known.

        Args:
            short: what its training took at a rung.
            trained: what of it is trained.
            effort: how it is trained.
            answered: unlabeled rows that the model has answered for an earlier finalist.
        """
        rows = max(effort.unlabeled, effort.unlabeled_tuning)
        labeled = self.labeled if effort.labeled is None else effort.labeled
        training = self._for_a_row(short) * trained.epochs(self.epochs) * (labeled + rows)
        new = max(rows - answered, 0) + self._new_labeled(short, labeled)
        return training and training + self._answering(new)

    def _rows(self, short: ShortTraining | None, trained: Trained) -> tuple[int, int]:
        """Return the labeled and the unlabeled rows, the most that fit into the time."""
        for_a_row = self._for_a_row(short) * trained.epochs(self.epochs)
        if not for_a_row:
            return self.labeled, 0
        learns_unlabeled = self.has_unlabeled and bool(
            trained.student or trained.cut_after is not None
        )
        halves = [-(-self.labeled >> halvings) for halvings in range(_HALVINGS + 1)]
        options = [(self.labeled, rows) for rows in _ROWS if learns_unlabeled]
        options += [(count_of_spaced(self.labeled, count), 0) for count in halves]
        fitting = (
            (labeled, rows)
            for labeled, rows in options
            if self._answering(rows + self._new_labeled(short, labeled))
            + for_a_row * (labeled + rows) / _SHARE
            <= self.seconds
        )
        labeled, rows = next(fitting, options[-1])
        if short is None:
            return labeled, rows
        return max(labeled, short.rows - short.unlabeled), max(rows, short.unlabeled)

    def _new_labeled(self, short: ShortTraining | None, labeled: int) -> int:
        """Return the labeled rows that the model has to answer; those of a trial, it has."""
        is_new = short is None or labeled > short.rows - short.unlabeled
        return labeled if is_new else 0

    def _answering(self, rows: int) -> float:
        return rows / self.rows_a_second if self.rows_a_second else 0.0

    def _for_a_row(self, short: ShortTraining | None) -> float:
        """Return the seconds for a row in an epoch; 0 where they are not known."""
        if short is not None:
            return short.seconds / (short.epochs * short.rows)
        return 1 / self.learned_a_second if self.learned_a_second else 0.0


def recipe_epochs(student: str) -> int:
    """Return the epochs of a student's recipe."""
    for family in families.families().values():
        for networks in (family.students, family.baselines):
            if student in networks:
                return recipe_of(family, student, networks[student], taught=True).epochs
    raise ValueError(f"no family has the student {student!r}")
