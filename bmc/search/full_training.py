"""How a finalist is trained in full: with as many unlabeled rows as the time allows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bmc.data import count_of_spaced
from bmc.search.chain import ALL_ROWS, Effort, ScoredRows

_ROWS = (150_000, 100_000, 70_000, 50_000, 30_000, 20_000, 10_000)
"""Numbers of unlabeled rows, the most first; each with all labeled rows."""
_SHARE = 0.8  # of the finalists' time without the teacher's
_TRAINED = 2  # finalists for which that time is enough, where they learn from unlabeled rows
_HALVINGS = 7  # of the epochs and of the labeled rows, where all of them would take too long


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
        student_epochs: epochs of the recipe of the student that is distilled first; 0 where there
            is no student.
        cut_after: epochs that a student learns before its structure is changed, or any number where
            the model's own is changed; None where no structure is changed.
        has_qat: whether its quantization trains.
    """

    student_epochs: int = 0
    cut_after: int | None = None
    has_qat: bool = False

    def epochs(self, of_tuning: int, of_student: int | None = None) -> int:
        """Return the epochs of all its trainings in full.

        Args:
            of_tuning: epochs of a fine-tuning.
            of_student: epochs of a student that is not cut; None for those of its recipe.
        """
        is_cut = self.cut_after is not None
        tuned = of_tuning * (is_cut + self.has_qat)
        if not self.student_epochs:
            return tuned
        if is_cut:
            return tuned + (self.cut_after or 0)
        return tuned + (of_student or self.student_epochs)

    def shorter(self, epochs: int, halvings: int) -> tuple[int, int | None]:
        """Return the epochs of a fine-tuning and of a student, both halved; at least one.

        Args:
            epochs: epochs of a fine-tuning in full.
            halvings: how often they are halved; a student has those of its recipe where it is 0.
        """
        of_student = None
        if self.student_epochs and halvings:
            of_student = max(1, self.student_epochs >> halvings)
        return max(1, epochs >> halvings), of_student


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
        unlabeled: unlabeled rows that there are; 0 for none.
    """

    epochs: int
    labeled: int
    seconds: float
    rows_a_second: float = 0.0
    learned_a_second: float = 0.0
    scored: ScoredRows = ALL_ROWS
    unlabeled: int = _ROWS[0]

    def effort(self, short: ShortTraining | None, trained: Trained) -> Effort:
        """Return how a finalist is trained, the same whenever it is asked.

        Args:
            short: what its training took at a rung; None where it was not trained, and where that
                is not known.
            trained: what of it is trained.
        """
        halvings, labeled, rows = self._length(short, trained)
        epochs, of_student = trained.shorter(self.epochs, halvings)
        if trained.student_epochs and trained.cut_after is not None:
            of_student = trained.cut_after  # as in the trial: what is cut depends on the weights
        return Effort(
            epochs,
            of_student,
            rows if trained.student_epochs else 0,
            0 if trained.student_epochs else rows,
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
        epochs = trained.epochs(effort.epochs, effort.student_epochs)
        training = self._for_a_row(short) * epochs * (labeled + rows)
        if not training:
            return 0.0
        new = max(rows - answered, 0) + self._new_labeled(short, labeled)
        return training + self._answering(new)

    def _length(self, short: ShortTraining | None, trained: Trained) -> tuple[int, int, int]:
        """Return how often epochs are halved, the labeled and the unlabeled rows that fit.

        Unlabeled rows are left out first, then epochs, then labeled rows: new rows teach more than
        the same ones again. There are only as many unlabeled rows as leave time for another
        finalist: the one that looked best in short trainings is often not the best one.
        """
        for_a_row = self._for_a_row(short)
        if not for_a_row * trained.epochs(self.epochs):
            return 0, self.labeled, 0
        learns_unlabeled = self.unlabeled > 0 and bool(
            trained.student_epochs or trained.cut_after is not None
        )
        least = (short.rows - short.unlabeled, short.unlabeled) if short else (0, 0)
        options = [
            (0, self.labeled, min(rows, self.unlabeled)) for rows in _ROWS if learns_unlabeled
        ]
        options += [(halvings, self.labeled, 0) for halvings in range(_HALVINGS)]
        options += [
            (_HALVINGS, count_of_spaced(self.labeled, -(-self.labeled // 2**halvings)), 0)
            for halvings in range(1, _HALVINGS + 1)
        ]
        for halvings, labeled, rows in options:
            length = halvings, max(labeled, least[0]), max(rows, least[1])
            epochs = trained.epochs(*trained.shorter(self.epochs, halvings))
            answering = self._answering(length[2] + self._new_labeled(short, length[1]))
            training = for_a_row * epochs * (length[1] + length[2])
            finalists = _TRAINED if rows else 1
            if answering + finalists * training / _SHARE <= self.seconds:
                break
        return length

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
