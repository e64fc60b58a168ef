"""What is tried next: each part by itself, combinations of parts, then what Optuna proposes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bmc.search.budgets import Limits, Measured
from bmc.search.combining import Tried, combined, effects_of, next_of
from bmc.search.space import ITSELF, NONE, Candidate, Space

_ITSELF = Candidate(None, (), None)


def next_params(
    space: Space,
    tried: Sequence[Tried],
    queued: Sequence[Mapping[str, Any]],
    known: Collection[str],
    number: int,
    base: Measured,
    limits: Limits,
    goal: str,
) -> dict[str, Any] | None:
    """Return the parameters of the next candidate; None where Optuna is to propose one.

    Quantizations, students and techniques, and combinations take turns; once each part was tried,
    combinations and Optuna do.

    Args:
        space: what is chosen from.
        tried: candidates that were measured.
        queued: parameters of the candidates that were returned before.
        known: candidates that were tried, or are being tried, in words.
        number: number of the trial.
        base: what the uncompressed model takes.
        limits: the budgets.
        goal: what is minimized: "drop", "size" or "latency".
    """
    parts = [_quantized(space, tried, queued, base, limits), _single(space, queued)]
    if parts == [None, None] and number % 2:
        return None
    proposals = [*parts, _combination(space, tried, queued, known, base, limits, goal)]
    turn = number % len(proposals)
    in_turn = proposals[turn:] + proposals[:turn]
    return next((params for params in in_turn if params is not None), None)


def _single(space: Space, queued: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the next student, or technique that changes the structure, without anything else."""
    return next((params for params in space.singles() if params not in queued), None)


def _quantized(
    space: Space,
    tried: Sequence[Tried],
    queued: Sequence[Mapping[str, Any]],
    base: Measured,
    limits: Limits,
) -> dict[str, Any] | None:
    """Return the next quantization: of the model, where that may be enough, or of what is fast.

    What it does to a fast candidate says as much, and is measured sooner.
    """
    names = {params.get("quantize") for params in queued}
    candidate: Candidate | None = _ITSELF
    if not limits.may_be_met_by_bits(base):
        candidate = _fast(tried, limits)
    if candidate is None:
        return None
    options = space.quantized(candidate)
    return next((params for params in options if params["quantize"] not in names), None)


def _fast(tried: Sequence[Tried], limits: Limits) -> Candidate | None:
    """Return the slowest candidate in fp32 that is fast enough, else the fastest, if there is any.

    The very fastest may have no layer that is worth fewer bits.
    """
    in_fp32 = [each for each in tried if each.candidate.parts and not each.candidate.quantization]
    in_fp32.sort(key=lambda each: each.measured.milliseconds)
    enough = [each for each in in_fp32 if not limits.excess(each.measured, ("latency",))]
    chosen = enough[-1:] or in_fp32[:1]
    return chosen[0].candidate if chosen else None


def _combination(
    space: Space,
    tried: Sequence[Tried],
    queued: Sequence[Mapping[str, Any]],
    known: Collection[str],
    base: Measured,
    limits: Limits,
    goal: str,
) -> dict[str, Any] | None:
    ranked = combined(space, effects_of(tried, base), base, limits, goal)
    parts = [
        [params.get(slot, NONE) for slot in ("first", "second", "quantize")] for params in queued
    ]
    starts = [params.get("start", ITSELF) for params in queued]
    several = zip(starts, parts, strict=True)
    begun = Counter(
        "" if start == ITSELF else str(start)
        for start, names in several
        if len(names) - names.count(NONE) + (start != ITSELF) > 1
    )
    candidate = next_of(ranked, known, begun)
    return None if candidate is None else space.params_of(candidate)
