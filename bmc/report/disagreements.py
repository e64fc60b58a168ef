"""Rows that a student and its teacher predict differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_ROWS = 12  # rows of a report, half of them in the student's favor where there are as many


@dataclass(frozen=True)
class Disagreement:
    """A held-out row that a student and its teacher predict differently.

    Args:
        row: index of the row in the held-out part.
        label: the true class.
        student: class that the student predicts.
        student_score: probability that the student gives to its prediction.
        teacher: class that the teacher predicts.
        teacher_score: probability that the teacher gives to its prediction.
        text: text of the row; None where it is not known.
    """

    row: int
    label: str
    student: str
    student_score: float
    teacher: str
    teacher_score: float
    text: str | None = None


@dataclass(frozen=True)
class Disagreements:
    """How the predictions of a student stand to those of its teacher, row by row.

    Args:
        teacher: name of the teacher's bundle.
        both_right: rows that both predict correctly.
        only_student: rows that the student alone predicts correctly.
        only_teacher: rows that the teacher alone predicts correctly.
        both_wrong: rows that neither predicts correctly.
        different: rows with two different predictions.
        rows: the different rows in which the wrong model was most certain.
        why_no_text: reason why the rows have no text; "" where they have.
    """

    teacher: str
    both_right: int
    only_student: int
    only_teacher: int
    both_wrong: int
    different: int
    rows: tuple[Disagreement, ...]
    why_no_text: str = ""


def disagreements_of(
    outputs: NDArray[Any],
    teacher_outputs: NDArray[Any],
    labels: NDArray[Any],
    names: tuple[str, ...],
    teacher: str,
) -> Disagreements:
    """Compare the predictions of a student with its teacher's.

    Args:
        outputs: logits of the student (rows, classes).
        teacher_outputs: logits of the teacher (rows, classes).
        labels: class indices (rows).
        names: names of the classes.
        teacher: name of the teacher's bundle.
    """
    ours, theirs = outputs.argmax(axis=1), teacher_outputs.argmax(axis=1)
    our_scores, their_scores = _scores(outputs), _scores(teacher_outputs)
    right, taught = ours == labels, theirs == labels
    different = ours != theirs
    certainty = np.where(right, their_scores, our_scores)  # of the model that is wrong
    won = _most_certain(different & right, certainty, _MAX_ROWS)
    lost = _most_certain(different & ~right, certainty, _MAX_ROWS)
    count = max(_MAX_ROWS // 2, _MAX_ROWS - len(won))
    chosen = [*lost[:count], *won[: _MAX_ROWS - min(len(lost), count)]]
    return Disagreements(
        teacher=teacher,
        both_right=int((right & taught).sum()),
        only_student=int((right & ~taught).sum()),
        only_teacher=int((~right & taught).sum()),
        both_wrong=int((~right & ~taught).sum()),
        different=int(different.sum()),
        rows=tuple(
            Disagreement(
                row=row,
                label=names[int(labels[row])],
                student=names[int(ours[row])],
                student_score=round(float(our_scores[row]), 4),
                teacher=names[int(theirs[row])],
                teacher_score=round(float(their_scores[row]), 4),
            )
            for row in chosen
        ),
    )


def _scores(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of the predicted class of each row; 0 for one that is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        scores: NDArray[np.float64] = np.nan_to_num(1 / np.exp(shifted).sum(axis=1), nan=0.0)
    return scores


def _most_certain(mask: NDArray[Any], certainty: NDArray[Any], most: int) -> list[int]:
    """Return the indices of the rows of a mask, those of the largest certainty first."""
    rows = np.flatnonzero(mask)
    order = np.argsort(-certainty[rows], kind="stable")[:most]
    return [int(row) for row in rows[order]]
