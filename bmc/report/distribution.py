"""The distribution of a bundle's latency: counts of calls in bins of equal ratio, and the p99."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bmc.measure.statistics import Launches, supported

_BINS = 48
_TAIL = 0.1  # percent of the calls that are cut at each end, so that one slow call hides no shape
_WIDTH = 1.05  # ratio of the largest to the smallest bound at least


@dataclass(frozen=True)
class Distribution:
    """The distribution of the duration of the measured calls.

    Args:
        calls: number of measured calls.
        low: lower bound of the first bin in milliseconds.
        high: upper bound of the last bin in milliseconds.
        counts: number of calls in each bin; the bounds of the bins have equal ratios.
        p99: 99th percentile in milliseconds; None where there are too few calls.
        slowest: longest call in milliseconds, which may lie beyond the last bin.
    """

    calls: int
    low: float
    high: float
    counts: tuple[int, ...]
    p99: float | None
    slowest: float


def distribution_of(launches: Launches) -> Distribution:
    """Count the calls of a bench in bins between the 0.1th and the 99.9th percentile.

    Args:
        launches: nanoseconds of each call, nested by launch, turn and call.
    """
    calls = np.concatenate([np.array(turn, np.float64) for turns in launches for turn in turns])
    milliseconds = calls / 1e6
    low, high = (float(value) for value in np.percentile(milliseconds, [_TAIL, 100 - _TAIL]))
    if high < low * _WIDTH:
        center = math.sqrt(low * high)
        low, high = center / math.sqrt(_WIDTH), center * math.sqrt(_WIDTH)
    edges = np.geomspace(low, high, _BINS + 1)
    counts, _ = np.histogram(np.clip(milliseconds, low, high), edges)
    p99 = float(np.percentile(milliseconds, 99)) if supported(99, len(calls)) else None
    return Distribution(
        len(calls), low, high, tuple(map(int, counts)), p99, float(milliseconds.max())
    )
