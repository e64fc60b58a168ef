"""Intervals for latencies that were measured in turns, over several launches of each process.

The speed of a process depends on its memory layout, which differs between launches. Calls within
a launch are therefore not independent, and a launch counts as one observation. Ratios are computed
within launches, and every interval is from the spread between launches. Turns are resampled where
there is one launch alone.
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
    """Return a latency percentile in milliseconds, with its interval over launches.

    Returns:
        the interval; None where there are too few samples for that percentile.
    """
    return percentiles(launches, (percent,))[0]


def percentiles(launches: Launches, percents: Sequence[float]) -> list[Interval | None]:
    """Return latency percentiles in milliseconds of all calls, with their intervals over launches.

    Args:
        launches: latencies of one candidate.
        percents: the percentiles, such as 50 for the median.

    Returns:
        an interval for each percentile; None where there are too few samples for it.
    """
    calls = [np.concatenate([np.array(turn) / 1e6 for turn in launch]) for launch in launches]
    samples = np.concatenate(calls)
    enough = [percent for percent in percents if supported(percent, len(samples))]
    if not enough:
        return [None] * len(percents)
    values = np.percentile(samples, enough)
    if len(calls) == 1:
        turns = [np.array(turn) / 1e6 for turn in launches[0]]
        resampled = [
            np.percentile(np.concatenate([turns[index] for index in indices]), enough)
            for indices in _draws(len(turns))
        ]
        intervals = [
            Interval(float(value), float(low), float(high))
            for value, low, high in zip(
                values, *np.percentile(resampled, [2.5, 97.5], axis=0), strict=True
            )
        ]
    else:
        of_launches = np.array([np.percentile(launch, enough) for launch in calls])
        intervals = [
            _over_launches(float(value), each)
            for value, each in zip(values, of_launches.T, strict=True)
        ]
    by_percent = dict(zip(enough, intervals, strict=True))
    return [by_percent.get(percent) for percent in percents]


def throughput(launches: Launches, rows: int) -> Interval:
    """Return the rows that were computed per second, with the interval over launches.

    Args:
        launches: latencies of one candidate.
        rows: rows a call.
    """
    computed = [[rows * len(turn) for turn in launch] for launch in launches]
    seconds = [[sum(turn) / 1e9 for turn in launch] for launch in launches]
    return _ratio_of_sums(computed, seconds)


def energy(microjoules: Sequence[Sequence[int]], launches: Launches, rows: int) -> Interval | None:
    """Return the millijoules a row, with the interval over launches.

    Args:
        microjoules: energy of each turn, nested by launch and turn.
        launches: latencies of the same turns.
        rows: rows a call.

    Returns:
        the interval; None where the energy of a turn is missing.
    """
    if [len(turns) for turns in microjoules] != [len(turns) for turns in launches]:
        return None
    millijoules = [[turn / 1e3 for turn in turns] for turns in microjoules]
    computed = [[rows * len(turn) for turn in turns] for turns in launches]
    return _ratio_of_sums(millijoules, computed)


def _ratio_of_sums(
    numerators: Sequence[Sequence[float]], denominators: Sequence[Sequence[float]]
) -> Interval:
    """Return the ratio of two sums over all turns, with its interval.

    Args:
        numerators: a number for each turn, nested by launch and turn.
        denominators: likewise.
    """
    over, under = (np.array([sum(turns) for turns in each]) for each in (numerators, denominators))
    value = float(over.sum() / under.sum())
    if len(over) > 1:
        return _over_launches(value, over / under)
    over, under = np.array(numerators[0]), np.array(denominators[0])
    drawn = _draws(len(over))
    low, high = np.percentile(over[drawn].sum(axis=1) / under[drawn].sum(axis=1), [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _over_launches(value: float, of_launches: NDArray[np.float64]) -> Interval:
    """Return a value with Student's interval of the logarithms of each launch's value.

    Args:
        value: the value of all launches together.
        of_launches: the value of each launch, at least two; with a 0, the interval
            is their range.
    """
    if not (of_launches > 0).all():
        return Interval(value, float(of_launches.min()), float(of_launches.max()))
    factor = math.exp(_half_width(np.log(of_launches)))
    return Interval(value, value / factor, value * factor)


def _half_width(observations: NDArray[np.float64]) -> float:
    """Return half of the width of Student's 95 % interval of the mean of observations."""
    degrees = len(observations) - 1
    deviation = float(observations.std(ddof=1))
    return _T[min(degrees, len(_T)) - 1] * deviation / math.sqrt(len(observations))


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
    mean, half_width = float(logs.mean()), _half_width(logs)
    return Interval(math.exp(mean), math.exp(mean - half_width), math.exp(mean + half_width))
