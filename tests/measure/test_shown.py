"""Numbers for people: three significant digits, and never a zero that is none."""

from __future__ import annotations

import pytest

from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide, megabytes, significant, with_interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00487, "0.00487"),
        (0.031249, "0.0312"),
        (0.9996, "1.00"),
        (1, "1.00"),
        (4.8, "4.80"),
        (99.96, "100"),
        (134.8, "135"),
        (999.6, "1,000"),
        (11162.4, "11,162"),
        (-0.0525, "-0.0525"),
        (4.8712e-06, "4.87e-06"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_three_digits_are_kept_whatever_the_size(value: float, text: str) -> None:
    assert significant(value) == text


def test_a_small_file_has_a_size() -> None:
    assert megabytes(31_249) == "0.0312 MB"
    assert megabytes(17_400_000) == "17.4 MB"


def test_each_end_of_an_interval_has_its_own_digits() -> None:
    assert with_interval(Interval(134.8, 1.6, 11162.4)) == "135 [1.60, 11,162]"
    assert with_interval(Interval(0.987, 0.98, 1), 100) == "98.7 [98.0, 100]"
    assert with_interval(None) == "too few samples"


def test_an_interval_wider_than_twice_its_lower_end_is_wide() -> None:
    assert is_wide(Interval(1, 0.5, 1.1))
    assert not is_wide(Interval(1, 0.6, 1.1))
    assert not is_wide(None)
