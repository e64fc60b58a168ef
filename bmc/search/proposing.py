"""What is tried next: each part by itself, combinations of parts, then what Optuna proposes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from bmc.search.budgets import Limits, Measured
from bmc.search.combining import best_of_each_start
from bmc.search.effects import Tried, effects_of, errors_of, names_of, start_of
from bmc.search.space import ITSELF, NONE, Candidate, Space

_ITSELF = Candidate(None, (), None)
_MOST_FAILURES = 2  # of the same parts with different settings, where none of them was made


@dataclass(frozen=True)
class Proposer:
    """What the next candidate is chosen by.

    Args:
        space: what is chosen from.
        base: what the uncompressed model takes.
        limits: the budgets.
        goal: what is minimized: "drop", "size" or "latency".
    """

    space: Space
    base: Measured
    limits: Limits
    goal: str

    def next_params(
        self,
        tried: Sequence[Tried],
        failed: Sequence[Candidate],
        queued: Sequence[Mapping[str, Any]],
        number: int,
    ) -> dict[str, Any] | None:
        """Return the parameters of the next candidate; None where Optuna is to propose one.

        Odd trials are a new combination, if any; even ones are a quantization, or one technique or
        student: in turn where fewer bits alone may meet the limits, else every third a
        quantization. Once each part was tried, Optuna proposes every third candidate, and all
        others when no combination is left.

        Args:
            tried: candidates that were measured.
            failed: candidates that cannot be made.
            queued: parameters of candidates that were returned before.
            number: number of the trial.
        """
        parts = [self._quantized(tried, queued), self._single(queued)]
        if parts == [None, None]:
            if number % 3 == 2:
                return None
            return next(iter(self._combinations(tried, failed, queued)), None)
        best = self._combinations(tried, failed, queued) if number % 2 else []
        small = self._small_enough(tried)
        worthwhile = (params for params in best if _start(params) not in small)
        combination = next(worthwhile, None)
        turn = number // 2
        is_for_bits = turn % 2 == 0 if self._are_bits_enough else turn % 3 == 2
        in_turn = parts if is_for_bits else parts[::-1]
        return next(params for params in (combination, *in_turn) if params is not None)

    def _single(self, queued: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Return the next student, or technique that changes the structure, alone.

        Techniques come first, since they are measured without training; where the limits need more
        than fewer bits, students come in turn with them: they are most often what meets the limits.
        """
        singles = self.space.singles()
        if not self._are_bits_enough:
            taught = [params for params in singles if _start(params)]
            cut = [params for params in singles if not _start(params)]
            pairs = zip_longest(taught, cut)
            singles = [params for pair in pairs for params in pair if params is not None]
        return next((params for params in singles if params not in queued), None)

    @property
    def _are_bits_enough(self) -> bool:
        """Whether fewer bits alone may meet the limits."""
        return self.limits.may_be_met_by_bits(self.base, self.space.has_fast_bits)

    def _quantized(
        self, tried: Sequence[Tried], queued: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Return the next quantization: of the model if that may meet the limits, else of another.

        That of a fast candidate tells as much, and is measured sooner.
        """
        names = {params.get("quantize") for params in queued}
        candidate: Candidate | None = _ITSELF
        if not self._are_bits_enough:
            candidate = self._fast(tried)
        if candidate is None:
            return None
        options = self.space.quantized(candidate)
        return next((params for params in options if params["quantize"] not in names), None)

    def _fast(self, tried: Sequence[Tried]) -> Candidate | None:
        """Return the slowest candidate in fp32 that is fast enough, else the fastest, if any.

        The very fastest may have no layer that is worth fewer bits.
        """
        in_fp32 = [
            each for each in tried if each.candidate.parts and not each.candidate.quantization
        ]
        in_fp32.sort(key=lambda each: each.rungs[0].milliseconds)
        enough = []
        if self.limits.milliseconds is not None:
            enough = [
                each for each in in_fp32 if each.rungs[0].milliseconds <= self.limits.milliseconds
            ]
        chosen = enough[-1:] or in_fp32[:1]
        return chosen[0].candidate if chosen else None

    def _combinations(
        self,
        tried: Sequence[Tried],
        failed: Sequence[Candidate],
        queued: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """Return the best new combination of each student, and of the model itself.

        Those with the fewest combinations tried come first, one more counting as much as a point,
        or a limit's size, by which the best of them missed the limits; students that are small
        enough alone come last.
        """
        known = {each.candidate.shown() for each in tried} | {each.shown() for each in failed}
        different = {each.shown(): each for each in failed}.values()
        failures = Counter(names_of(each) for each in different)
        made = {names_of(each.candidate) for each in tried}

        def is_new(candidate: Candidate) -> bool:
            names = names_of(candidate)
            is_hopeless = names not in made and failures[names] >= _MOST_FAILURES
            is_known = candidate.shown() in known or self.space.params_of(candidate) in queued
            return not (is_known or is_hopeless)

        effects = effects_of(tried, self.base)
        errors = errors_of(self.space, tried, effects, self.base)
        best = best_of_each_start(
            *(self.space, effects, errors, self.base, self.limits, self.goal), is_new
        )
        begun = Counter(_start(params) for params in queued if _parts(params) > 1)
        small = self._small_enough(tried)
        excess = self._least_excess(tried)
        starts = sorted(best, key=lambda name: (name in small, begun[name] + excess.get(name, 0.0)))
        return [self.space.params_of(best[start]) for start in starts]

    def _least_excess(self, tried: Sequence[Tried]) -> dict[str, float]:
        """Return for each start by how much its best combination exceeds the limits."""
        excess: dict[str, float] = {}
        for candidate, rungs in tried:
            if len(candidate.parts) > 1:
                start, least = start_of(candidate), min(map(self.limits.excess, rungs))
                excess[start] = min(least, excess.get(start, least))
        return excess

    def _small_enough(self, tried: Sequence[Tried]) -> set[str]:
        """Return the students within size and latency but over the drop: pruning helps least."""
        return {
            start_of(candidate)
            for candidate, rungs in tried
            if candidate.parts == (candidate.student,)
            and not self.limits.excess(rungs[0], ("size", "latency"))
            and self.limits.excess(min(rungs, key=lambda rung: rung.drop), ("drop",))
        }


def _start(params: Mapping[str, Any]) -> str:
    start = str(params.get("start", ITSELF))
    return "" if start == ITSELF else start


def _parts(params: Mapping[str, Any]) -> int:
    """Return how many parts a queued candidate has."""
    others = [params.get(name, NONE) for name in ("first", "second", "quantize")]
    return len(others) - others.count(NONE) + bool(_start(params))
