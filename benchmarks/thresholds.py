"""Micro and macro F1 of several labels a row at a half, and at thresholds chosen on validation.

    python benchmarks/thresholds.py

Ten draws of scikit-learn's generated counts of words: 2,000 rows with some of 20 labels. A logistic
regression for each label is trained on 1,400 rows, thresholds are chosen on 200, 400 are scored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression

from bmc.measure.label_scores import Counted
from bmc.measure.scores import relative_to
from bmc.tasks.multilabel import thresholds

ROWS, LABELS, DRAWS = 2000, 20, 10
TRAIN, CHOSEN_BY = 1400, 1600
NEVER = -10.0  # logit of a label that no training row has


def main() -> None:
    """Print the mean of both scores over the draws, and of the paired differences."""
    scored = np.array([_scored(seed) for seed in range(DRAWS)])
    for name, column in (("micro F1", 0), ("macro F1", 1)):
        half, chosen = scored[:, 0, column], scored[:, 1, column]
        spread = (chosen - half).std(ddof=1)
        print(
            f"{name}: at 0.5 {half.mean():.3f}, at chosen thresholds {chosen.mean():.3f} "
            f"(difference {(chosen - half).mean():+.3f}, standard deviation {spread:.3f})"
        )


def _scored(seed: int) -> list[list[float]]:
    rows, labels = make_multilabel_classification(
        n_samples=ROWS, n_features=200, n_classes=LABELS, n_labels=3, length=30, random_state=seed
    )
    logits = np.stack([_logits(rows, labels[:, label]) for label in range(LABELS)], axis=1)
    limits = thresholds(logits[TRAIN:CHOSEN_BY], labels[TRAIN:CHOSEN_BY])
    test, truth = logits[CHOSEN_BY:], labels[CHOSEN_BY:]
    tables = [Counted.of(outputs, truth) for outputs in (test, relative_to(test, limits))]
    return [[table.micro_f1(), float(table.f1().mean())] for table in tables]


def _logits(rows: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float32]:
    if not truth[:TRAIN].any():
        return np.full(len(rows), NEVER, np.float32)
    model = LogisticRegression(max_iter=300).fit(rows[:TRAIN], truth[:TRAIN])
    logits: NDArray[np.float32] = model.decision_function(rows).astype(np.float32)
    return logits


if __name__ == "__main__":
    main()
