"""What each part of a candidate does: a factor of latency, a factor of size, and a drop.

The effect of a part (a student, a technique, a quantization) is known once candidates with and
without it were measured. Factors multiply and drops add up, roughly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bmc.choices import Between
from bmc.search.budgets import Measured
from bmc.search.space import RATIO, Candidate, Chosen, Option, Space
from bmc.workflows.ratio_search import WON_BACK

Names = tuple[str, ...]
"""The parts of a candidate by their names, whatever their settings."""

Structure = tuple[str, Names]
"""The student of a candidate, "" for the model itself, and the techniques that change it."""

NOT_STRUCTURAL = ("distill", "quantize")
"""Verbs of the parts that do not change a network's structure."""
_RATIOS = 8  # that are estimated from those that were measured
_FARTHEST = 2.0  # an effect is not estimated for more than so many times a measured ratio
_MOST_CUT = 0.05  # least factor of a cost: not everything can be removed
_LEAST_DROP = 0.3  # points of a part that is trained: less cannot be told from 0 on few rows


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
        drop = max(drop / (WON_BACK if is_cut and rung == 0 and not is_trained else 1.0), 0.0)
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
            estimated, structure = estimate(known, base), _structure(candidate)
            slower = rungs[0].milliseconds / estimated.milliseconds
            larger = rungs[0].bytes / max(estimated.bytes, 1)
            before = errors.get(structure, (0.0, 0.0))
            errors[structure] = max(slower, before[0]), max(larger, before[1])
    return errors


def nearest(effects: Sequence[Effect], start: str) -> list[Effect]:
    """Return each part's effects with a student ("" is the model itself), with any if none has."""
    with_it = [effect for effect in effects if effect.start == start]
    names = {name_of(effect) for effect in with_it}
    return with_it + [effect for effect in effects if name_of(effect) not in names]


def with_other_ratios(space: Space, effects: Sequence[Effect]) -> list[Effect]:
    """Replace measured ratios of each technique by some over its range, with estimated effects.

    Savings grow with the ratio and the drop with its square, from the nearest measured ratio.
    """
    kept: list[Effect] = []
    measured: dict[tuple[str, str], list[Effect]] = {}
    for effect in effects:
        ratios = _ratios(space.option_of(effect.part))
        if ratios and effect.part.settings[RATIO] > 0:
            measured.setdefault(name_of(effect), []).append(effect)
        else:
            kept.append(effect)
    for of_technique in measured.values():
        for ratio in _ratios(space.option_of(of_technique[0].part)):
            scaled = _at_ratio(of_technique, ratio)
            if ratio > 0 and scaled is not None:
                kept.append(scaled)
    return kept


def estimate(effects: Sequence[Effect], base: Measured) -> Measured:
    """Return what a combination of parts should lose and cost.

    Args:
        effects: what its parts do.
        base: what the uncompressed model takes.
    """
    drop, size, latency = 0.0, float(base.bytes), base.milliseconds
    for effect in effects:
        drop, size, latency = drop + effect.drop, size * effect.size, latency * effect.latency
    return Measured(drop, round(size), latency)


def structure_of(effects: Sequence[Effect]) -> Structure:
    """Return the structure of a combination: its student, and the techniques that change it."""
    start = effects[0].part.name if effects[0].part.verb == "distill" else ""
    cut = (part for part in (each.part for each in effects) if part.verb not in NOT_STRUCTURAL)
    return start, tuple(f"{part.verb}/{part.name}" for part in cut)


def name_of(effect: Effect) -> tuple[str, str]:
    """Return the verb and the name of a part, whatever its settings."""
    return effect.part.verb, effect.part.name


def _ratios(option: Option) -> list[float]:
    """Return ratios over the range of a technique's; none where it has no such setting."""
    of = option.ranges.get(RATIO)
    if not isinstance(of, Between):
        return []
    ratios = (of.low + number * (of.high - of.low) / (_RATIOS - 1) for number in range(_RATIOS))
    digits = None if RATIO in option.whole else 3
    return [round(ratio, digits) for ratio in ratios]


def _at_ratio(measured: Sequence[Effect], ratio: float) -> Effect | None:
    """Return the effect of a technique with another ratio, by the nearest that was measured.

    None where that is too far away.
    """
    near = min(measured, key=lambda each: abs(each.part.settings[RATIO] - ratio))
    more = ratio / near.part.settings[RATIO]
    if more > _FARTHEST:
        return None
    return replace(
        near,
        part=replace(near.part, settings={**near.part.settings, RATIO: ratio}),
        latency=max(1 - more * (1 - near.latency), _MOST_CUT),
        size=max(1 - more * (1 - near.size), _MOST_CUT),
        drop=max(more**2 * near.drop, _LEAST_DROP),
    )


def _known(space: Space, part: Chosen, start: str, effects: Sequence[Effect]) -> Effect | None:
    """Return the effect of a part with its settings, by the nearest that was measured."""
    same = [each for each in effects if name_of(each) == (part.verb, part.name)]
    same = nearest(same, start)
    if _ratios(space.option_of(part)):
        same = [each for each in same if each.part.settings[RATIO] > 0]
        return _at_ratio(same, part.settings[RATIO]) if same else None
    exact = [each for each in same if each.part.settings == part.settings]
    return next(iter(exact or same), None)


def _structure(candidate: Candidate) -> Structure:
    return start_of(candidate), tuple(f"{part.verb}/{part.name}" for part in candidate.structural)
