"""Samples of training rows: from the whole of the data, also where it is sorted by class."""

from __future__ import annotations

from bmc.inference.samples import drawn


def test_the_first_samples_are_not_the_first_rows() -> None:
    sorted_by_class = [0] * 500 + [1] * 500
    samples = drawn(sorted_by_class, 400)
    assert len(samples) == 400
    assert 0.4 < sum(samples[:100]) / 100 < 0.6


def test_each_row_is_drawn_once_and_the_same_rows_each_time() -> None:
    samples = drawn(range(50), 50)
    assert samples != sorted(samples) == list(range(50))
    assert drawn(range(50), 10) == samples[:10]
    assert sorted(drawn(range(3), 10)) == [0, 1, 2]
