"""What a candidate is expected to lose on other rows: less lucky than what it lost on these.

The best of many candidates looks better than it is: on few validation rows the loss of each has a
standard error of a point, and the luckiest wins. How far the outputs lie from the model's own has
hardly any such error, since it does not depend on the labels. So a measured drop is shrunk towards
what the candidate's divergence predicts, as far as the rows explain the difference.

Source: Efron and Morris 1975, "Data Analysis Using Stein's Estimator and its Generalizations";
Efron 2011, "Tweedie's Formula and Selection Bias".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bmc.search.budgets import Measured

_LEAST = 3  # candidates by which the expectation is fitted
_NEAR = 10.0  # points: what loses more tells little about what loses less
_ERRORS = 2 * 1.96  # standard errors of the width of a 95 % interval


@dataclass(frozen=True)
class Expectation:
    """How the drop of candidates follows from their divergence.

    Args:
        slope: points lost for each unit of divergence; None where too few candidates were measured.
        spread: variance of true drops around that line, in squared points.
    """

    slope: float | None = None
    spread: float = 0.0

    def drop(self, measured: Measured) -> float:
        """Return the points that a candidate is expected to lose; the measured ones if unknown."""
        variance = _variance(measured)
        if self.slope is None or variance is None or measured.divergence is None:
            return measured.drop
        predicted = self.slope * measured.divergence
        total = self.spread + variance
        trusted = self.spread / total if total else 1.0
        return predicted + trusted * (measured.drop - predicted)


def fitted(candidates: Sequence[Measured]) -> Expectation:
    """Fit the expectation to candidates that were measured.

    Args:
        candidates: what they lose; those without an interval or a divergence are left out.
    """
    known = [
        (each.drop, each.divergence, variance)
        for each in candidates
        if each.divergence and (variance := _variance(each)) is not None
    ]
    near = [each for each in known if abs(each[0]) <= _NEAR]
    drops, divergences, variances = (
        np.array(near if len(near) >= _LEAST else known).reshape(-1, 3).T
    )
    if len(drops) < _LEAST:
        return Expectation()
    slope = max(0.0, float(drops @ divergences / (divergences @ divergences)))
    spread = max(0.0, float(np.mean((drops - slope * divergences) ** 2 - variances)))
    return Expectation(slope, spread)


def _variance(measured: Measured) -> float | None:
    """Return the variance of a drop by its interval, in squared points; None where it has none."""
    if measured.drop_low is None or measured.drop_high is None:
        return None
    return ((measured.drop_high - measured.drop_low) / _ERRORS) ** 2
