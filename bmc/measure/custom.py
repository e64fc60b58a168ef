"""Score functions of the user, of outputs and labels, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ModelCodeError
from bmc.measure.scores import NAMES, Interval
from bmc.user_code import line_of, summary_of

ScoreFunction = Callable[[NDArray[Any], NDArray[Any]], Any]
"""Function of outputs (rows, classes), or values (rows) in a regression, and labels (rows). It
returns a number; higher is better."""

_DRAWS = 500  # bootstrap samples; fewer than for bmc's scores, since a user's function may be slow


@dataclass(frozen=True)
class CustomScore:
    """A score function of the user.

    Args:
        name: name under which the score is recorded.
        function: function of outputs and labels, which are numpy arrays.
        mean: number added to a regression's values after scaling; 0 where the values are in the
            labels' unit.
        scale: factor of a regression's values; 1 where the values are in the labels' unit.
        identity: sha256 of the function's code, and of the values that it reads.
    """

    name: str
    function: ScoreFunction
    mean: float = 0.0
    scale: float = 1.0
    identity: str = ""

    def in_units_of(self, mean: float, scale: float) -> CustomScore:
        """Return the score for values and labels of which the mean and the scale were removed."""
        return replace(self, mean=mean, scale=scale)

    def value(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """Return the score of rows.

        Args:
            outputs: outputs (rows, classes), or (rows, 1) in a regression.
            labels: class indices or numbers (rows).

        Raises:
            ModelCodeError: the function fails, or does not return a finite number.
        """
        try:
            score = float(self.function(*self._in_own_units(outputs, labels)))
        except Exception as error:  # the user's code may raise any error
            where = line_of(error) or "its own code"
            raise ModelCodeError(
                f"the score function {self.name} fails in {where}: {summary_of(error)}"
            ) from error
        if not np.isfinite(score):
            raise ModelCodeError(
                f"the score function {self.name} returns {score}; it must return a finite number"
            )
        return score

    def interval(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Interval:
        """Return the score of rows with its 95 % bootstrap interval.

        Args:
            outputs: outputs (rows, classes), or (rows, 1) in a regression.
            labels: class indices or numbers (rows).

        Raises:
            ModelCodeError: the function fails on all rows, or does not return a finite number.
        """
        value = self.value(outputs, labels)
        generator = np.random.default_rng(0)
        resampled = []
        for _ in range(_DRAWS):
            rows = generator.integers(0, len(labels), len(labels))
            try:
                resampled.append(self.value(outputs[rows], labels[rows]))
            except ModelCodeError:  # for example, the sample may lack a class
                continue
        low, high = np.percentile(resampled, [2.5, 97.5]) if resampled else (value, value)
        return Interval(value, float(low), float(high))

    def _in_own_units(
        self, outputs: NDArray[Any], labels: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        if labels.dtype.kind != "f" or labels.ndim == 2:  # classes, or several labels a row
            return outputs, labels
        values = outputs[:, 0] if outputs.ndim == 2 else outputs
        return values * self.scale + self.mean, labels * self.scale + self.mean


def custom_scores(scores: Mapping[str, Any]) -> dict[str, Interval]:
    """Return the scores of the user's functions among recorded scores, by name.

    Args:
        scores: scores of a model or bundle, which may come from a file; malformed entries are left
            out.
    """
    return intervals({name: entry for name, entry in scores.items() if name not in NAMES})


def intervals(scores: Mapping[str, Any]) -> dict[str, Interval]:
    """Return the recorded scores that have an interval, by name.

    Args:
        scores: scores of a model or bundle, which may come from a file; malformed entries are left
            out.
    """
    keys = ("value", "low", "high")
    return {
        name: Interval(*(float(entry[key]) for key in keys))
        for name, entry in scores.items()
        if isinstance(entry, dict)
        and set(entry) == set(keys)
        and all(type(entry[key]) in (int, float) for key in keys)
    }
