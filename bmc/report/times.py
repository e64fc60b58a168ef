"""The times of a bundle in a bench: percentiles, speed-ups, cold start, memory, distribution."""

from __future__ import annotations

from typing import Any

from bmc.measure.results import Run, best_samples
from bmc.measure.scores import Interval
from bmc.measure.statistics import speed_up
from bmc.report.distribution import distribution_of


def times_of(
    name: str,
    run: Run | None,
    reference: str | None,
    same_target: str | None,
    origin: str | None,
) -> dict[str, Any]:
    """Return the members of a report's line that a bench measured; none where it did not.

    Args:
        name: name of the bundle.
        run: the bench.
        reference: bundle that the report's speed-ups refer to.
        same_target: the teacher's bundle for the same runtime.
        origin: bundle of the model that the bundle's model was compressed from.
    """
    rows = [row for row in run.rows if row.name == name] if run else []
    if not run or not rows:
        return {}
    best = next(row for row in rows if row.best)

    def faster_than(other: str | None) -> Interval | None:
        if other is None or other == name or not any(row.name == other for row in run.rows):
            return None
        return speed_up(best_samples(run, other), best_samples(run, name))

    return {
        "threads": best.threads,
        "p50": best.p50,
        "p90": best.p90,
        "by_threads": {row.threads: row.p50 for row in rows},
        "speed_up": faster_than(reference),
        "speed_up_same_target": faster_than(same_target),
        "speed_up_origin": faster_than(origin),
        "cold_start_seconds": best.cold_start_seconds,
        "peak_mb": best.peak_mb,
        "execution": best.execution,
        "distribution": distribution_of(best_samples(run, name)),
    }
