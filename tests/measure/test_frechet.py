"""The Frechet distance: against closed forms, and against the formula as it stands."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bmc.errors import DataError
from bmc.measure.frechet import frechet_distance

Features = NDArray[np.float64]


def drawn(seed: int, rows: int = 200, features: int = 6) -> Features:
    """Draw features that depend on one another."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(features, features))
    return generator.normal(size=(rows, features)) @ mixing + generator.normal(size=features)


def test_equal_sets_have_no_distance_and_the_order_of_rows_does_not_matter() -> None:
    features = drawn(0)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-6)


def test_a_shift_costs_its_square() -> None:
    features = drawn(0)
    assert frechet_distance(features, features + np.array([3, 0, 0, 4, 0, 0])) == pytest.approx(25)


def test_a_stretch_costs_the_square_of_the_difference_of_deviations() -> None:
    first = drawn(0, features=1)
    first = (first - first.mean()) / first.std(ddof=1)
    assert frechet_distance(2 * first, 5 * first) == pytest.approx(9)


def test_it_is_what_the_formula_gives_with_the_eigenvalues_of_the_product() -> None:
    first, second = drawn(1), drawn(2, rows=300)
    spreads = [np.cov(features.T) for features in (first, second)]
    shared = np.sqrt(np.linalg.eigvals(spreads[0] @ spreads[1]).real).sum()
    apart = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    expected = apart + np.trace(spreads[0] + spreads[1]) - 2 * shared
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-6)


def test_more_features_than_rows_give_a_number() -> None:
    first, second = drawn(1, rows=5, features=40), drawn(2, rows=4, features=40)
    assert np.isfinite(frechet_distance(first, second))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-3)


def test_single_precision_features_far_from_zero_keep_their_distance() -> None:
    features = drawn(0)
    far = (features + 1e4).astype(np.float32)
    assert frechet_distance(far, far + np.float32(1)) == pytest.approx(6, rel=1e-2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (drawn(0), drawn(0, features=5)),
        (drawn(0), drawn(0, rows=1)),
        (drawn(0), drawn(0)[0]),
        (drawn(0), np.full((9, 6), np.nan)),
    ],
)
def test_features_that_cannot_be_compared_are_refused(first: Features, second: Features) -> None:
    with pytest.raises(DataError, match="Frechet distance needs"):
        frechet_distance(first, second)
