"""A caller's own score: a function of outputs and labels, with an interval as other scores have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ModelCodeError
from bmc.foreign import line_of, summary_of
from bmc.measure.scores import NAMES, Interval

ScoreFunction = Callable[[NDArray[Any], NDArray[Any]], Any]
"""Given outputs (rows, classes), or values (rows) in a regression, and labels (rows): a number,
higher is better."""

_DRAWS = 500  # of the bootstrap: a caller's function may be slow


@dataclass(frozen=True)
class CustomScore:
    """A score function of the caller's.

    Args:
        name: what it is recorded as.
        function: of outputs and labels, as numpy arrays.
        mean: added to a regression's values after `scale`; 0 where they are in the labels' unit.
        scale: that a regression's values are multiplied by; 1 where they are in the labels' unit.
    """

    name: str
    function: ScoreFunction
    mean: float = 0.0
    scale: float = 1.0

    def in_units_of(self, mean: float, scale: float) -> CustomScore:
        """Return the score for values and labels of which the mean and the scale were removed."""
        return replace(self, mean=mean, scale=scale)

    def value(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """Return the score of rows.

        Args:
            outputs: (rows, classes), or (rows, 1) in a regression.
            labels: class indices or numbers (rows).

        Raises:
            ModelCodeError: the function fails, or returns no finite number.
        """
        try:
            score = float(self.function(*self._in_own_units(outputs, labels)))
        except Exception as error:  # what the code of others raises can be anything
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
            outputs: (rows, classes), or (rows, 1) in a regression.
            labels: class indices or numbers (rows).

        Raises:
            ModelCodeError: the function fails on all rows, or returns no finite number.
        """
        value = self.value(outputs, labels)
        generator = np.random.default_rng(0)
        drawn = []
        for _ in range(_DRAWS):
            rows = generator.integers(0, len(labels), len(labels))
            try:
                drawn.append(self.value(outputs[rows], labels[rows]))
            except ModelCodeError:  # such as a draw that lacks a class
                continue
        low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (value, value)
        return Interval(value, float(low), float(high))

    def _in_own_units(
        self, outputs: NDArray[Any], labels: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        if labels.dtype.kind != "f":
            return outputs, labels
        values = outputs[:, 0] if outputs.ndim == 2 else outputs
        return values * self.scale + self.mean, labels * self.scale + self.mean


def custom_scores(scores: Mapping[str, Any]) -> dict[str, Interval]:
    """Return the scores of a caller's own functions among recorded ones, by name.

    Args:
        scores: of a model or bundle, read from a file; what is malformed is left out.
    """
    made = {name: entry for name, entry in scores.items() if name not in NAMES}
    keys = ("value", "low", "high")
    return {
        name: Interval(*(float(entry[key]) for key in keys))
        for name, entry in made.items()
        if isinstance(entry, dict)
        and set(entry) == set(keys)
        and all(type(entry[key]) in (int, float) for key in keys)
    }
