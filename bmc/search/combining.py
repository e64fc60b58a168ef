"""Combine parts of candidates whose sizes and latencies should fit the limits.

What a combination takes is estimated from the effects of its parts before it is built. Samplers
know nothing of that, and need many more trials to find parts that fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product

from bmc.search.budgets import Limits, Measured
from bmc.search.effects import (
    NOT_STRUCTURAL,
    Effect,
    Structure,
    estimate,
    name_of,
    nearest,
    structure_of,
    with_other_ratios,
)
from bmc.search.space import RATIO, Candidate, Space

_MOST_SETTINGS = 3  # of a part that combinations are made of


def best_of_each_start(
    space: Space,
    effects: Sequence[Effect],
    errors: Mapping[Structure, tuple[float, float]],
    base: Measured,
    limits: Limits,
    goal: str,
    is_new: Callable[[Candidate], bool],
) -> dict[str, Candidate]:
    """Return for each student, and for "", the model itself, the best new combination.

    Its estimated size and latency are within the limits. Candidates are ranked by their estimated
    drop beyond the limit, then by `goal`; by drop alone if it is not limited.

    Args:
        space: what is chosen from.
        effects: what parts do.
        errors: factors by which estimates for a structure are corrected.
        base: what the uncompressed model takes.
        limits: the budgets.
        goal: what is minimized: "drop", "size" or "latency".
        is_new: tells whether a candidate may be tried.
    """
    goal = "drop" if limits.drop is None else goal
    estimates = (
        (parts, _corrected(estimate(parts, base), errors.get(structure_of(parts))))
        for parts in _combinations(space, effects)
    )
    fitting = [
        (limits.excess(estimated), estimated.of(goal), parts)
        for parts, estimated in estimates
        if not limits.excess(estimated, ("size", "latency"))
    ]
    fitting.sort(key=lambda each: each[:2])
    best: dict[str, Candidate] = {}
    for _, _, parts in fitting:
        start, _ = structure_of(parts)
        if start not in best:
            candidate = _candidate(parts)
            if is_new(candidate):
                best[start] = candidate
    return best


def _combinations(space: Space, effects: Sequence[Effect]) -> Iterator[tuple[Effect, ...]]:
    """Yield all combinations of two or more parts, at most two of which change the structure."""
    students = [effect for effect in effects if effect.part.verb == "distill"]
    for student in (None, *_some(students)):
        start = student.part.name if student else ""
        cut = [each for each in effects if each.part.verb not in NOT_STRUCTURAL]
        cut = _some(with_other_ratios(space, nearest(cut, start)))
        cut.sort(key=lambda each: each.part.verb == "share")  # codebooks cannot be pruned
        pairs = (pair for pair in combinations(cut, 2) if name_of(pair[0]) != name_of(pair[1]))
        structural: list[tuple[Effect, ...]] = [(), *((each,) for each in cut), *pairs]
        bits = nearest([each for each in effects if each.part.verb == "quantize"], start)
        ends: list[tuple[Effect, ...]] = [(), *((each,) for each in _some(bits))]
        for middle, end in product(structural, ends):
            parts = (*((student,) if student else ()), *middle, *end)
            if len(parts) > 1:
                yield parts


def _some(effects: Sequence[Effect]) -> list[Effect]:
    """Return the few settings of each part that lose least, and all those with a ratio."""
    kept: list[Effect] = []
    for effect in sorted(effects, key=lambda each: each.drop):
        same = [each for each in kept if name_of(each) == name_of(effect)]
        is_known = any(each.part.settings == effect.part.settings for each in same)
        if not is_known and (len(same) < _MOST_SETTINGS or RATIO in effect.part.settings):
            kept.append(effect)
    return kept


def _corrected(estimated: Measured, factors: tuple[float, float] | None) -> Measured:
    if factors is None:
        return estimated
    slower, larger = factors
    latency, size = slower * estimated.milliseconds, round(larger * estimated.bytes)
    return replace(estimated, milliseconds=latency, bytes=size)


def _candidate(effects: Sequence[Effect]) -> Candidate:
    parts = [effect.part for effect in effects]
    student = next((part for part in parts if part.verb == "distill"), None)
    quantization = next((part for part in parts if part.verb == "quantize"), None)
    structural = tuple(part for part in parts if part not in (student, quantization))
    if quantization is not None and student is not None:  # it has layers of other names
        quantization = replace(quantization, settings=_without_layers(quantization.settings))
    return Candidate(student, structural, quantization)


def _without_layers(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if name != "in_float"}
