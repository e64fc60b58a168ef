"""Intervals for latencies that were measured in turns, over several launches of each process.

The speed of a process depends on its memory layout, which differs between launches. Calls within
a launch are therefore not independent, and a launch counts as one observation. Ratios are computed
within launches, and their interval from the spread between launches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bmc.measure.scores import Interval

_DRAWS = 1000
_MIN_SAMPLES_BEYOND = 10
# Student's t, 97.5 %, for 1 to 30 degrees of freedom; the last value is used for more.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

Launches = Sequence[Sequence[Sequence[int]]]
"""Nanoseconds of each call, nested by launch, turn and call."""


def supported(percent: float, samples: int) -> bool:
    """Tell whether at least ten of that many samples lie beyond a percentile."""
    return samples * (1 - percent / 100) >= _MIN_SAMPLES_BEYOND - 1e-9


def needed(percent: float) -> int:
    """Return the number of samples of which ten lie beyond a percentile."""
    return math.ceil(_MIN_SAMPLES_BEYOND / (1 - percent / 100) - 1e-6)


def percentile(launches: Launches, percent: float) -> Interval | None:
    """Return a latency percentile in milliseconds, with its bootstrap interval.

    Returns:
        the interval; None where there are too few samples for that percentile.
    """
    return percentiles(launches, (percent,))[0]


def percentiles(launches: Launches, percents: Sequence[float]) -> list[Interval | None]:
    """Return latency percentiles in milliseconds, with their bootstrap intervals.

    The bootstrap resamples whole turns, since a disturbance affects all calls of a turn.

    Args:
        launches: latencies of one candidate.
        percents: the percentiles, such as 50 for the median.

    Returns:
        an interval for each percentile; None where there are too few samples for it.
    """
    turns = [np.array(turn, np.float64) / 1e6 for launch in launches for turn in launch]
    samples = np.concatenate(turns)
    enough = [percent for percent in percents if supported(percent, len(samples))]
    if not enough:
        return [None] * len(percents)
    resampled = [
        np.percentile(np.concatenate([turns[index] for index in indices]), enough)
        for indices in _draws(len(turns))
    ]
    values = np.percentile(samples, enough)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    intervals = {
        percent: Interval(float(values[index]), float(low[index]), float(high[index]))
        for index, percent in enumerate(enough)
    }
    return [intervals.get(percent) for percent in percents]


def throughput(launches: Launches, rows: int) -> Interval:
    """Return the rows that were computed per second, with a bootstrap interval over turns.

    Args:
        launches: latencies of one candidate.
        rows: rows a call.
    """
    turns = [turn for launch in launches for turn in launch]
    calls = np.array([len(turn) for turn in turns], np.float64)
    seconds = np.array([sum(turn) for turn in turns], np.float64) / 1e9
    return _ratio_of_sums(rows * calls, seconds)


def energy(microjoules: Sequence[Sequence[int]], launches: Launches, rows: int) -> Interval | None:
    """Return the millijoules a row, with a bootstrap interval over turns.

    Args:
        microjoules: energy of each turn, nested by launch and turn.
        launches: latencies of the same turns.
        rows: rows a call.

    Returns:
        the interval; None where the energy of a turn is missing.
    """
    if [len(turns) for turns in microjoules] != [len(turns) for turns in launches]:
        return None
    millijoules = np.array([turn for turns in microjoules for turn in turns], np.float64) / 1e3
    calls = np.array([len(turn) for turns in launches for turn in turns], np.float64)
    return _ratio_of_sums(millijoules, rows * calls)


def _ratio_of_sums(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> Interval:
    """Return the ratio of two sums over turns, with its bootstrap interval."""
    drawn = _draws(len(numerators))
    ratios = numerators[drawn].sum(axis=1) / denominators[drawn].sum(axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Interval(float(numerators.sum() / denominators.sum()), float(low), float(high))


def _draws(turns: int) -> NDArray[np.int64]:
    """Return the indices of resampled turns, always drawn the same way: (draws, turns)."""
    return np.random.default_rng(0).integers(0, turns, (_DRAWS, turns))


def speed_up(slower: Launches, faster: Launches) -> Interval:
    """Return the ratio of the median latencies of two candidates, with its 95 % interval.

    The candidates were measured in turn: turn k of launch l of one candidate ran next to turn k of
    launch l of the other. The ratio of each pair of turns is computed; the median logarithm of the
    ratios of a launch is one observation, and the observations give Student's interval.

    Args:
        slower: latencies of the candidate in the numerator, of at least two launches.
        faster: latencies of the candidate in the denominator, of as many launches.
    """
    logs: NDArray[np.float64] = np.array(
        [
            np.median(
                [
                    math.log(np.median(slower_turn) / np.median(faster_turn))
                    for slower_turn, faster_turn in zip(slower_turns, faster_turns, strict=True)
                ]
            )
            for slower_turns, faster_turns in zip(slower, faster, strict=True)
        ]
    )
    mean = float(logs.mean())
    degrees = len(logs) - 1
    half_width = _T[min(degrees, len(_T)) - 1] * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Interval(math.exp(mean), math.exp(mean - half_width), math.exp(mean + half_width))
