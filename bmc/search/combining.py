"""Combine what was measured: candidates of several parts that should cost what the limits allow.

Each part of a candidate (a student, a technique, a quantization) has a known effect once it was
measured: factors of latency and size, and points that it loses. Factors multiply and points add up,
roughly; so the costs of a combination can be estimated before it is made. Samplers know nothing of
that, and need many more trials to find parts that fit together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import NamedTuple

from bmc.choices import Between
from bmc.search.budgets import Limits, Measured
from bmc.search.space import Candidate, Chosen, Space

_RATIO = "ratio"
"""The setting of techniques that remove a share of something; costs fall in proportion to it."""
_RATIOS = 8  # that are estimated from one that was measured
_MOST_CUT = 0.05  # least factor of a cost: not everything can be removed
_WON_BACK = 3.0  # of what a technique loses before training, training leaves this fraction


class Tried(NamedTuple):
    """A candidate that was measured.

    Args:
        candidate: the candidate.
        measured: what it loses and costs.
        is_trained: whether it was trained after its structure was changed.
    """

    candidate: Candidate
    measured: Measured
    is_trained: bool


@dataclass(frozen=True)
class Effect:
    """What one part does to what a candidate loses and costs.

    Args:
        part: the part.
        latency: factor of the latency.
        size: factor of the size.
        drop: points that it loses, 0 or more.
    """

    part: Chosen
    latency: float
    size: float
    drop: float


def effects_of(tried: Sequence[Tried], base: Measured) -> list[Effect]:
    """Return the effect of each part that was measured with it, and without it.

    Args:
        tried: candidates that were measured.
        base: what the uncompressed model takes.
    """
    measured = {each.candidate.shown(): each.measured for each in tried}
    measured[Candidate(None, (), None).shown()] = base
    effects = []
    for candidate, with_it, is_trained in tried:
        without = measured.get(candidate.without_last().shown()) if candidate.parts else None
        if without is None:
            continue
        part = candidate.parts[-1]
        is_cut = candidate.quantization is None and bool(candidate.structural)
        drop = max(with_it.drop - without.drop, 0.0) / (
            _WON_BACK if is_cut and not is_trained else 1.0
        )
        latency = with_it.milliseconds / without.milliseconds
        effects.append(Effect(part, latency, with_it.bytes / without.bytes, drop))
    return effects


def combined(
    space: Space, effects: Sequence[Effect], base: Measured, limits: Limits, goal: str
) -> list[tuple[Candidate, Measured]]:
    """Return combinations of parts whose estimated costs are within the limits, the best first.

    Those that should lose no more than is allowed come first, in the order of the goal; then those
    that should lose least.

    Args:
        space: what is chosen from.
        effects: what parts do.
        base: what the uncompressed model takes.
        limits: the budgets.
        goal: what is minimized: "drop", "size" or "latency".
    """
    estimates = ((parts, _estimate(parts, base)) for parts in _combinations(space, effects))
    fitting = [
        (_candidate(parts), estimated)
        for parts, estimated in estimates
        if not limits.excess(estimated, ("size", "latency"))
    ]
    return sorted(
        fitting, key=lambda each: (limits.excess(each[1]), each[1].of(goal), each[0].shown())
    )


def next_of(
    ranked: Sequence[tuple[Candidate, Measured]],
    known: Collection[str],
    begun: Mapping[str, int],
) -> Candidate | None:
    """Return the best combination that is new; students, and the model itself, take turns.

    Args:
        ranked: combinations, the best first.
        known: candidates that were tried, in words.
        begun: how many combinations were tried of each student, by its name; "" is the model.
    """
    new = [candidate for candidate, _ in ranked if candidate.shown() not in known]
    return min(new, key=lambda candidate: begun.get(start_of(candidate), 0), default=None)


def start_of(candidate: Candidate) -> str:
    """Return the name of a candidate's student; "" where the model itself is compressed."""
    return candidate.student.name if candidate.student else ""


def _combinations(space: Space, effects: Sequence[Effect]) -> Iterator[tuple[Effect, ...]]:
    """Yield all combinations of two or more parts, at most two of which change the structure."""
    of_verb: dict[str, list[Effect]] = {"distill": [], "structural": [], "quantize": []}
    for effect in effects:
        verb = effect.part.verb if effect.part.verb in of_verb else "structural"
        of_verb[verb] += [effect, *_other_ratios(space, effect)]
    cut = of_verb["structural"]
    pairs = (pair for pair in combinations(cut, 2) if _name(pair[0]) != _name(pair[1]))
    structural: list[tuple[Effect, ...]] = [(), *((each,) for each in cut), *pairs]
    starts: list[tuple[Effect, ...]] = [(), *((each,) for each in of_verb["distill"])]
    ends: list[tuple[Effect, ...]] = [(), *((each,) for each in of_verb["quantize"])]
    for groups in product(starts, structural, ends):
        parts = tuple(effect for group in groups for effect in group)
        if len(parts) > 1:
            yield parts


def _other_ratios(space: Space, effect: Effect) -> Iterator[Effect]:
    """Yield the estimated effect of a technique with other shares than the one it was tried with.

    What it costs falls in proportion to the share, and what it loses grows with its square.
    """
    of = space.option_of(effect.part).ranges.get(_RATIO)
    if not isinstance(of, Between):
        return
    tried = float(effect.part.settings[_RATIO])
    step = (of.high - of.low) / (_RATIOS - 1)
    for number in range(_RATIOS):
        ratio = round(of.low + number * step, 3)
        more = ratio / tried
        yield Effect(
            replace(effect.part, settings={**effect.part.settings, _RATIO: ratio}),
            max(1 - more * (1 - effect.latency), _MOST_CUT),
            max(1 - more * (1 - effect.size), _MOST_CUT),
            more**2 * effect.drop,
        )


def _name(effect: Effect) -> tuple[str, str]:
    return effect.part.verb, effect.part.name


def _candidate(effects: Sequence[Effect]) -> Candidate:
    parts = [effect.part for effect in effects]
    student = next((part for part in parts if part.verb == "distill"), None)
    quantization = next((part for part in parts if part.verb == "quantize"), None)
    structural = tuple(part for part in parts if part not in (student, quantization))
    return Candidate(student, structural, quantization)


def _estimate(effects: Sequence[Effect], base: Measured) -> Measured:
    drop, size, latency = 0.0, float(base.bytes), base.milliseconds
    for effect in effects:
        drop, size, latency = drop + effect.drop, size * effect.size, latency * effect.latency
    return Measured(drop, round(size), latency)
