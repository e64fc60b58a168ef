"""Rows that a classifier does not answer, because the probability of its prediction is too low.

Source: Chow 1970, "On Optimum Recognition Error and Reject Tradeoff".
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.measure.scores import bootstrap, share_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SHARE, ACCURACY = "rejected", "accepted_accuracy"
"""Names under which the share of rejected rows, and the accuracy of the others, are recorded."""
_LEAST = 1e-6  # a threshold lies between 0 and 1
_GAP = 1e-6  # probabilities of two rows that float32 can tell apart
_FEW = 20  # accepted rows; of fewer, the accuracy would be a matter of chance


def threshold_for_share(confidence: Floats, share: float) -> float:
    """Return the probability below which this share of the rows lies, or less.

    Args:
        confidence: probability of the predicted class (rows).
        share: share of the rows, 0 to 1.
    """
    ranked = np.sort(confidence)
    return _threshold(ranked, int(share * len(ranked) + 1e-9))


def threshold_for_accuracy(confidence: Floats, correct: Bools, accuracy: float) -> float:
    """Return the lowest threshold above which the predictions have this accuracy.

    Args:
        confidence: probability of the predicted class (rows).
        correct: whether the prediction is right (rows).
        accuracy: accuracy of the rows that are not rejected, 0 to 1.

    Raises:
        ValueError: no threshold that leaves 20 rows reaches it; the message has the best accuracy.
    """
    order = np.argsort(confidence, kind="stable")
    ranked, right = confidence[order], correct[order].astype(np.float64)
    counts = np.arange(len(ranked), 0, -1)  # of the rows from each rank on
    accuracies = right[::-1].cumsum()[::-1] / counts
    is_cut = np.append(True, np.diff(ranked) >= _GAP)
    possible = is_cut & (counts >= min(_FEW, len(ranked)))
    reached = possible & (accuracies >= accuracy)
    if not reached.any():
        best = int(np.where(possible, accuracies, -1.0).argmax())
        share = best / len(ranked)
        raise ValueError(
            f"the best is {accuracies[best]:.4f}, with {share:.1%} of the rows rejected"
        )
    return _threshold(ranked, int(reached.argmax()))


def scores_of(confidence: Floats, correct: Bools, threshold: float) -> dict[str, Any]:
    """Return the share of rejected rows and the accuracy of the others, each with its interval.

    Args:
        confidence: probability of the predicted class (rows).
        correct: whether the prediction is right (rows).
        threshold: probability below which a row is rejected.

    Returns:
        a JSON object; without the accuracy where every row is rejected.
    """
    accepted = confidence >= threshold
    found = {SHARE: asdict(share_of((~accepted).astype(np.float64)))}
    if accepted.any():
        right = (correct & accepted).astype(np.float64)

        def accuracy(rows: NDArray[np.int64]) -> float:
            return float(right[rows].sum() / max(accepted[rows].sum(), 1))

        is_equal = len(np.unique(correct[accepted])) == 1
        interval = (
            share_of(correct[accepted].astype(np.float64))
            if is_equal
            else bootstrap(accuracy, len(right))
        )
        found[ACCURACY] = asdict(interval)
    return found


def _threshold(ranked: Floats, count: int) -> float:
    """Return a threshold that rejects the first rows, halfway between two rows.

    Args:
        ranked: probabilities in ascending order.
        count: number of rows to reject; fewer where the next row has the same probability.
    """
    while 0 < count < len(ranked) and ranked[count] - ranked[count - 1] < _GAP:
        count -= 1
    below = float(ranked[count - 1]) if count else 0.0
    above = float(ranked[count]) if count < len(ranked) else 1.0
    return float(np.clip((below + above) / 2, _LEAST, 1 - _LEAST))
