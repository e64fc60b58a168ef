"""Format estimates for people, with their intervals."""

from __future__ import annotations

from bmc.figures import megabytes as megabytes
from bmc.figures import significant as significant
from bmc.measure.scores import Interval

MEASURES = {
    "accuracy": "accuracy",
    "micro_f1": "micro F1",
    "span_f1": "span F1",
    "recall_at_10": "recall@10",
    "r2": "R2",
}
"""The measure by which a task is judged, and its name for people."""
SCORES = {**MEASURES, "macro_f1": "macro F1", "spearman": "Spearman"}
"""All scores that have an interval, and their names for people."""
_WIDE_RATIO = 2.0


def with_interval(interval: Interval | None, scale: float = 1.0) -> str:
    """Write an estimate with its 95 % interval, or say that there are too few samples.

    Args:
        interval: the estimate with its interval; None for too few samples.
        scale: factor of the numbers, such as 100 for percent.
    """
    if interval is None:
        return "too few samples"
    value, low, high = (
        significant(scale * number) for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]"


def is_wide(interval: Interval | None) -> bool:
    """Tell whether the upper end of an interval is more than twice its lower end."""
    return interval is not None and interval.high > _WIDE_RATIO * interval.low
