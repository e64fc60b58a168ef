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


def percentile(launches: Launches, percent: float) -> Interval | None:
    """Return a latency percentile in milliseconds, with its bootstrap interval.

    The bootstrap resamples whole turns, since a disturbance affects all calls of a turn.

    Returns:
        the interval; None where there are too few samples for that percentile.
    """
    turns = [np.array(turn, np.float64) / 1e6 for launch in launches for turn in launch]
    samples = np.concatenate(turns)
    if not supported(percent, len(samples)):
        return None
    generator = np.random.default_rng(0)
    resampled = [
        np.percentile(np.concatenate([turns[index] for index in indices]), percent)
        for indices in generator.integers(0, len(turns), (_DRAWS, len(turns)))
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(np.percentile(samples, percent)), float(low), float(high))


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
