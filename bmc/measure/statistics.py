"""Intervals for latencies that were measured in turns, over several launches of each process.

A process's speed depends on where its memory fell, so one launch is one observation of it,
however many calls it ran. Ratios are therefore taken within a launch and judged between launches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bmc.measure.scores import Interval

_DRAWS = 1000
_TAIL = 10
# Student's t, 97.5 %, by degrees of freedom (1..30); above, the normal's 1.96 is close enough.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

Launches = Sequence[Sequence[Sequence[int]]]
"""Nanoseconds of each call, by turn, by launch."""


def supported(percent: float, samples: int) -> bool:
    """Tell whether that many samples can speak of a percentile: ten must lie beyond it."""
    return samples * (1 - percent / 100) >= _TAIL - 1e-9


def percentile(launches: Launches, percent: float) -> Interval | None:
    """Return a latency percentile in milliseconds, with its bootstrap interval.

    Whole turns are drawn anew, since calls of one turn share what disturbed them.

    Returns:
        the interval; None where the samples cannot support that percentile.
    """
    turns = [np.array(turn, np.float64) / 1e6 for launch in launches for turn in launch]
    everything = np.concatenate(turns)
    if not supported(percent, len(everything)):
        return None
    generator = np.random.default_rng(0)
    drawn = [
        np.percentile(np.concatenate([turns[place] for place in places]), percent)
        for places in generator.integers(0, len(turns), (_DRAWS, len(turns)))
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(np.percentile(everything, percent)), float(low), float(high))


def speed_up(slower: Launches, faster: Launches) -> Interval:
    """Return how many times faster one candidate's median call is, with its 95 % interval.

    Both were measured in turn: turn k of launch l of one is beside turn k of launch l of the
    other. The logarithms of the turns' ratios are averaged (by their median) in each launch; the
    launches' means give Student's interval, for which there must be two.
    """
    logs: NDArray[np.float64] = np.array(
        [
            np.median(
                [math.log(np.median(a) / np.median(b)) for a, b in zip(one, two, strict=True)]
            )
            for one, two in zip(slower, faster, strict=True)
        ]
    )
    mean = float(logs.mean())
    freedom = len(logs) - 1
    wide = _T[min(freedom, len(_T)) - 1] * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Interval(math.exp(mean), math.exp(mean - wide), math.exp(mean + wide))
