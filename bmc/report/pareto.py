"""The Pareto front of bundles: those that no other bundle beats in both score and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bmc.report.line import Line

T = TypeVar("T")
Cost = Callable[[Line], float | None]

COSTS: dict[str, Cost] = {
    "latency": lambda line: line.p50.value if line.p50 else None,
    "size": lambda line: line.model_bytes / 1e6,
    "memory": lambda line: line.peak_mb,
}
"""For each cost a function of a line that returns it: p50 in ms, MB of the model, MB of memory."""


def front(points: Sequence[tuple[T, float, float]]) -> list[T]:
    """Return the members that no other member beats: as cheap and better, or as good and cheaper.

    Args:
        points: each member with its cost and its score.

    Returns:
        the members of the front, the cheapest first; those of equal cost and score are all in it.

    Example:
        >>> front([("slow", 9.0, 0.84), ("fast", 1.0, 0.83), ("bad", 2.0, 0.80)])
        ['fast', 'slow']
    """
    members: list[T] = []
    best_score, best_cost = float("-inf"), float("-inf")
    for member, cost, score in sorted(points, key=lambda point: (point[1], -point[2])):
        if score > best_score or (score, cost) == (best_score, best_cost):
            members.append(member)
            best_score, best_cost = score, cost
    return members


def front_of(lines: Sequence[Line], cost: str) -> list[str]:
    """Return the names of the bundles on the front of score and a cost, the cheapest first.

    Args:
        lines: bundles of one data set.
        cost: "latency", "size" or "memory".
    """
    points = [
        (line.name, value, line.accuracy.value)
        for line in lines
        if line.is_usable
        and line.accuracy
        and (value := COSTS[cost](line)) is not None
        and value > 0
    ]
    return front(points)


def fronts(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Return for each bundle on a front the costs for which it is there."""
    costs: dict[str, list[str]] = {}
    for cost in COSTS:
        for name in front_of(lines, cost):
            costs.setdefault(name, []).append(cost)
    return costs
