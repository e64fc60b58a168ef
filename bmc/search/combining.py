"""Combine what was measured: candidates of several parts that should cost what the limits allow.

The effect of a part (a student, a technique, a quantization) is a latency factor, a size factor and
a drop, known once candidates with and without it were measured. Factors multiply and drops add up,
roughly; so what a combination takes can be estimated before it is built. Samplers know nothing of
that, and need many more trials to find parts that fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import NamedTuple

from bmc.choices import Between
from bmc.search.budgets import Limits, Measured
from bmc.search.space import Candidate, Chosen, Option, Space

Names = tuple[str, ...]
"""The parts of a candidate by their names, whatever their settings."""

Structure = tuple[str, Names]
"""The student of a candidate, "" for the model itself, and the techniques that change it."""

_RATIO = "ratio"
"""The setting of techniques that remove a share of something; costs fall in proportion to it."""
_RATIOS = 8  # that are estimated from those that were measured
_FARTHEST = 2.0  # an effect is not estimated for more than so many times a measured ratio
_MOST_CUT = 0.05  # least factor of a cost: not everything can be removed
_LEAST_DROP = 0.3  # points of a part that is trained: less cannot be told from 0 on few rows
_WON_BACK = 3.0  # of what a technique loses before training, training leaves this fraction
_MOST_SETTINGS = 3  # of a part that combinations are made of


class Tried(NamedTuple):
    """A candidate that was measured.

    Args:
        candidate: the candidate.
        rungs: what it loses and costs at each rung; at least one.
    """

    candidate: Candidate
    rungs: Sequence[Measured]


@dataclass(frozen=True)
class Effect:
    """What one part does to what a candidate loses and costs.

    Args:
        part: the part.
        latency: factor of the latency.
        size: factor of the size.
        drop: points that it loses, 0 or more.
        start: name of the student that it was measured with; "" for the model itself.
    """

    part: Chosen
    latency: float
    size: float
    drop: float
    start: str = ""


def names_of(candidate: Candidate) -> Names:
    """Return the names of a candidate's parts, in order."""
    return tuple(f"{part.verb}/{part.name}" for part in candidate.parts)


def start_of(candidate: Candidate) -> str:
    """Return the name of a candidate's student; "" where the model itself is compressed."""
    return candidate.student.name if candidate.student else ""


def effects_of(tried: Sequence[Tried], base: Measured) -> list[Effect]:
    """Return the effect of each part if candidates with and without it were measured.

    Drops are compared at the highest rung that both candidates reached; a student's, with the
    model, at its first rung. A part is skipped if its bundle differs from PyTorch and the one
    without it does not.

    Args:
        tried: candidates that were measured.
        base: what the uncompressed model takes.
    """
    rungs_of = {each.candidate.shown(): each.rungs for each in tried}
    rungs_of[Candidate(None, (), None).shown()] = (base,)
    effects = []
    for candidate, rungs in tried:
        without = rungs_of.get(candidate.without_last().shown()) if candidate.parts else None
        if without is None or (rungs[0].failure and not without[0].failure):
            continue
        part = candidate.parts[-1]
        is_cut = candidate.quantization is None and bool(candidate.structural)
        is_trained = candidate.student is not None  # at each rung
        of_model = len(candidate.parts) == 1
        rung = 0 if part is candidate.student else len(rungs) - 1
        rung = rung if of_model else min(rung, len(without) - 1)
        drop = rungs[rung].drop - without[0 if of_model else rung].drop
        drop = max(drop / (_WON_BACK if is_cut and rung == 0 and not is_trained else 1.0), 0.0)
        if candidate.quantization is None:
            drop = max(drop, _LEAST_DROP)
        latency = rungs[0].milliseconds / without[0].milliseconds
        size = rungs[0].bytes / without[0].bytes
        effects.append(Effect(part, latency, size, drop, start_of(candidate)))
    return effects


def errors_of(
    space: Space, tried: Sequence[Tried], effects: Sequence[Effect], base: Measured
) -> dict[Structure, tuple[float, float]]:
    """Return by how much combinations were slower and larger than estimated, by their structure.

    A technique that removes one of four layers saves another share than one that removes one of
    six; the next estimate for the same techniques is corrected by the largest factors of the
    earlier ones.
    """
    errors: dict[Structure, tuple[float, float]] = {}
    for candidate, rungs in tried:
        parts = [_known(space, part, start_of(candidate), effects) for part in candidate.parts]
        known = [part for part in parts if part is not None]
        if len(parts) > 1 and len(known) == len(parts):
            estimated, structure = _estimate(known, base), _structure(candidate)
            slower = rungs[0].milliseconds / estimated.milliseconds
            larger = rungs[0].bytes / max(estimated.bytes, 1)
            before = errors.get(structure, (0.0, 0.0))
            errors[structure] = max(slower, before[0]), max(larger, before[1])
    return errors


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
        (parts, _corrected(_estimate(parts, base), errors.get(_structure_of(parts))))
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
        first = parts[0].part
        start = first.name if first.verb == "distill" else ""
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
        cut = [each for each in effects if each.part.verb not in ("distill", "quantize")]
        cut = _some(_with_other_ratios(space, _nearest(cut, start)))
        pairs = (pair for pair in combinations(cut, 2) if _name(pair[0]) != _name(pair[1]))
        structural: list[tuple[Effect, ...]] = [(), *((each,) for each in cut), *pairs]
        bits = _nearest([each for each in effects if each.part.verb == "quantize"], start)
        ends: list[tuple[Effect, ...]] = [(), *((each,) for each in _some(bits))]
        for middle, end in product(structural, ends):
            parts = (*((student,) if student else ()), *middle, *end)
            if len(parts) > 1:
                yield parts


def _nearest(effects: Sequence[Effect], start: str) -> list[Effect]:
    """Return each part's effects with a student ("" is the model itself), with any if none has."""
    with_it = [effect for effect in effects if effect.start == start]
    names = {_name(effect) for effect in with_it}
    return with_it + [effect for effect in effects if _name(effect) not in names]


def _some(effects: Sequence[Effect]) -> list[Effect]:
    """Return the few settings of each part that lose least, and all those with a ratio."""
    kept: list[Effect] = []
    for effect in sorted(effects, key=lambda each: each.drop):
        same = [each for each in kept if _name(each) == _name(effect)]
        is_known = any(each.part.settings == effect.part.settings for each in same)
        if not is_known and (len(same) < _MOST_SETTINGS or _RATIO in effect.part.settings):
            kept.append(effect)
    return kept


def _with_other_ratios(space: Space, effects: Sequence[Effect]) -> list[Effect]:
    """Replace measured ratios of each technique by some over its range, with estimated effects.

    Savings grow with the ratio and the drop with its square, from the nearest measured ratio.
    """
    kept: list[Effect] = []
    measured: dict[tuple[str, str], list[Effect]] = {}
    for effect in effects:
        ratios = _ratios(space.option_of(effect.part))
        if ratios and effect.part.settings[_RATIO] > 0:
            measured.setdefault(_name(effect), []).append(effect)
        else:
            kept.append(effect)
    for of_technique in measured.values():
        for ratio in _ratios(space.option_of(of_technique[0].part)):
            distances = [abs(each.part.settings[_RATIO] - ratio) for each in of_technique]
            near = of_technique[distances.index(min(distances))]
            more = ratio / near.part.settings[_RATIO]
            if 0 < more <= _FARTHEST:
                kept.append(_scaled(near, ratio, more))
    return kept


def _ratios(option: Option) -> list[float]:
    """Return ratios over the range of a technique's; none where it has no such setting."""
    of = option.ranges.get(_RATIO)
    if not isinstance(of, Between):
        return []
    ratios = (of.low + number * (of.high - of.low) / (_RATIOS - 1) for number in range(_RATIOS))
    digits = None if _RATIO in option.whole else 3
    return [round(ratio, digits) for ratio in ratios]


def _scaled(effect: Effect, ratio: float, more: float) -> Effect:
    return replace(
        effect,
        part=replace(effect.part, settings={**effect.part.settings, _RATIO: ratio}),
        latency=max(1 - more * (1 - effect.latency), _MOST_CUT),
        size=max(1 - more * (1 - effect.size), _MOST_CUT),
        drop=max(more**2 * effect.drop, _LEAST_DROP),
    )


def _known(space: Space, part: Chosen, start: str, effects: Sequence[Effect]) -> Effect | None:
    """Return the effect of a part with its settings, by the nearest that was measured."""
    same = [each for each in effects if _name(each) == (part.verb, part.name)]
    same = _nearest(same, start)
    if not same:
        return None
    ratio = part.settings.get(_RATIO)
    if not _ratios(space.option_of(part)) or not ratio:
        exact = [each for each in same if each.part.settings == part.settings]
        return (exact or same)[0]
    distances = [abs(each.part.settings[_RATIO] - ratio) for each in same]
    near = same[distances.index(min(distances))]
    return _scaled(near, ratio, ratio / near.part.settings[_RATIO])


def _structure(candidate: Candidate) -> Structure:
    return start_of(candidate), tuple(f"{part.verb}/{part.name}" for part in candidate.structural)


def _structure_of(effects: Sequence[Effect]) -> Structure:
    return _structure(_candidate(effects))


def _corrected(estimated: Measured, factors: tuple[float, float] | None) -> Measured:
    if factors is None:
        return estimated
    slower, larger = factors
    latency, size = slower * estimated.milliseconds, round(larger * estimated.bytes)
    return replace(estimated, milliseconds=latency, bytes=size)


def _name(effect: Effect) -> tuple[str, str]:
    return effect.part.verb, effect.part.name


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


def _estimate(effects: Sequence[Effect], base: Measured) -> Measured:
    drop, size, latency = 0.0, float(base.bytes), base.milliseconds
    for effect in effects:
        drop, size, latency = drop + effect.drop, size * effect.size, latency * effect.latency
    return Measured(drop, round(size), latency)
