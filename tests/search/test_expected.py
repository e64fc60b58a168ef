"""What a candidate is expected to lose on other rows."""

from __future__ import annotations

import numpy as np
import pytest

from bmc.search.budgets import Measured
from bmc.search.expected import Expectation, fitted


def measured(drop: float, divergence: float | None, error: float = 1.2) -> Measured:
    ends = drop - 1.96 * error, drop + 1.96 * error
    return Measured(drop, 1000, 1.0, "", *ends, divergence=divergence)


def test_the_best_of_many_noisy_candidates_is_expected_to_lose_what_it_truly_loses() -> None:
    random = np.random.default_rng(0)
    shrunk, raw = [], []
    for _ in range(200):
        divergences = random.uniform(0.05, 0.4, 26)
        truth = 12 * divergences + random.normal(0, 0.4, 26)
        drops = truth + random.normal(0, 1.2, 26)
        candidates = [measured(*each) for each in zip(drops, divergences, strict=True)]
        expectation = fitted(candidates)
        expected = [expectation.drop(each) for each in candidates]
        best = int(np.argmin(expected))
        shrunk.append((expected[best] - truth[best], truth[best]))
        best = int(np.argmin(drops))
        raw.append((drops[best] - truth[best], truth[best]))
    bias, loss = np.mean(shrunk, axis=0)
    raw_bias, raw_loss = np.mean(raw, axis=0)
    assert abs(bias) < 0.35 < 1 < -raw_bias
    assert loss < raw_loss


def test_exact_drops_are_taken_as_they_are() -> None:
    candidates = [measured(*each, error=0.0) for each in ((1.0, 0.1), (5.0, 0.2), (1.0, 0.3))]
    expectation = fitted(candidates)
    assert [expectation.drop(each) for each in candidates] == pytest.approx([1, 5, 1])


def test_without_divergences_intervals_or_enough_candidates_drops_are_taken_as_they_are() -> None:
    few = [measured(1.0, 0.1), measured(2.0, 0.2)]
    assert fitted(few) == Expectation()
    plain = [Measured(drop, 1000, 1.0) for drop in (1.0, 2.0, 3.0, 4.0)]
    assert fitted(plain) == Expectation()
    expectation = Expectation(slope=10, spread=0.1)
    assert expectation.drop(plain[0]) == expectation.drop(measured(1.0, None)) == 1.0


def test_where_nothing_is_lost_on_average_the_luckiest_is_not_believed_either() -> None:
    candidates = [measured(drop, 0.05) for drop in (-2.0, 0.0, 2.0)]
    expectation = fitted(candidates)
    assert expectation.slope == 0
    assert max(abs(expectation.drop(each)) for each in candidates) < 1.5


def test_what_loses_much_does_not_tell_about_what_loses_little() -> None:
    near = [measured(12 * each, each) for each in (0.05, 0.1, 0.2, 0.3)]
    far = [measured(30.0, 0.9), measured(45.0, 1.1)]
    assert fitted([*near, *far]).slope == pytest.approx(12, rel=0.01)
