"""Intervals of latencies: known values, what too few samples do, and how often they are right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bmc.measure.statistics import (
    energy,
    needed,
    percentile,
    percentiles,
    speed_up,
    supported,
    throughput,
)

MILLISECOND = 1_000_000


def launches(
    generator: np.random.Generator, median: float, count: int = 5, turns: int = 6, calls: int = 20
) -> list[list[list[int]]]:
    """Draw nanoseconds around a median in milliseconds; each launch has a speed of its own."""
    entry = median * generator.lognormal(0, 0.02, count)
    return [
        [
            (speed * MILLISECOND * generator.lognormal(0, 0.1, calls)).astype(int).tolist()
            for _ in range(turns)
        ]
        for speed in entry
    ]


@pytest.mark.parametrize(
    ("percent", "samples", "enough"),
    [(50, 20, True), (50, 19, False), (90, 100, True), (90, 99, False), (99, 1000, True)],
)
def test_ten_samples_must_lie_beyond_a_percentile(
    percent: float, samples: int, enough: bool
) -> None:
    assert supported(percent, samples) is enough


def test_a_percentile_is_in_milliseconds_and_inside_its_interval() -> None:
    turns = [[[n * MILLISECOND for n in range(1, 101)]] * 2]
    median = percentile(turns, 50)
    assert median is not None
    assert median.value == pytest.approx(50.5)
    assert median.low <= median.value <= median.high


def test_a_percentile_that_the_samples_cannot_support_is_none() -> None:
    assert percentile([[[MILLISECOND] * 19]], 50) is None
    assert percentile([[[MILLISECOND] * 99]], 90) is None


def test_launches_that_differ_make_the_interval_wide_and_of_one_launch_its_turns() -> None:
    steady = [[[MILLISECOND] * 20 for _ in range(6)] for _ in range(5)]
    shaky = [[[(1 + launch % 2) * MILLISECOND] * 20 for _ in range(6)] for launch in range(5)]
    alone = percentile([[[(1 + turn % 2) * MILLISECOND] * 20 for turn in range(6)]], 50)
    assert alone is not None
    assert alone.high - alone.low > 0.5
    item, other = percentile(steady, 50), percentile(shaky, 50)
    assert item is not None
    assert other is not None
    assert item.high - item.low == 0
    assert other.high - other.low > 0.5


def test_a_speed_up_is_the_ratio_of_medians() -> None:
    slow = [[[3 * MILLISECOND] * 5] * 4] * 3
    fast = [[[MILLISECOND] * 5] * 4] * 3
    result = speed_up(slow, fast)
    assert (result.value, result.low, result.high) == pytest.approx((3, 3, 3))
    assert speed_up(fast, slow).value == pytest.approx(1 / 3)


def test_the_interval_of_a_speed_up_is_students_over_launches() -> None:
    slow = [[[round(MILLISECOND * math.exp(log))]] for log in (0.9, 1.0, 1.1)]
    fast = [[[MILLISECOND]]] * 3
    result = speed_up(slow, fast)
    wide = 4.303 * 0.1 / math.sqrt(3)  # t with 2 degrees of freedom, 97.5 %: a table of Student's t
    assert math.log(result.value) == pytest.approx(1.0, abs=1e-5)
    assert math.log(result.high) == pytest.approx(1.0 + wide, abs=1e-4)
    assert math.log(result.low) == pytest.approx(1.0 - wide, abs=1e-4)


def test_what_disturbs_both_candidates_in_one_turn_does_not_move_the_ratio() -> None:
    noise = np.random.default_rng(0).lognormal(0, 1, (3, 4))
    slow = [[[round(2 * MILLISECOND * factor)] * 5 for factor in row] for row in noise]
    fast = [[[round(MILLISECOND * factor)] * 5 for factor in row] for row in noise]
    result = speed_up(slow, fast)
    assert (result.low, result.high) == pytest.approx((2, 2), rel=1e-5)


def test_equal_candidates_are_found_equal_about_95_times_of_100() -> None:
    generator = np.random.default_rng(0)
    intervals = [speed_up(launches(generator, 1), launches(generator, 1)) for _ in range(200)]
    right = sum(interval.low <= 1 <= interval.high for interval in intervals)
    assert 180 <= right <= 199


def test_the_interval_of_a_median_holds_the_true_one_about_95_times_of_100() -> None:
    """Resampled turns hold it less often: those of one launch are not independent."""
    generator = np.random.default_rng(0)
    drawn = [launches(generator, 1) for _ in range(300)]
    of_launches = [percentile(each, 50) for each in drawn]
    of_turns = [percentile([[turn for launch in each for turn in launch]], 50) for each in drawn]
    right, resampled = (
        sum(each is not None and each.low <= 1 <= each.high for each in medians)
        for medians in (of_launches, of_turns)
    )
    assert 276 <= right <= 296
    assert resampled < 240


def test_the_interval_of_a_throughput_holds_the_true_one_about_95_times_of_100() -> None:
    generator = np.random.default_rng(1)
    mean = math.exp((0.02**2 + 0.1**2) / 2)  # milliseconds a call
    rates = [throughput(launches(generator, 1), 1) for _ in range(300)]
    right = sum(each.low <= 1000 / mean <= each.high for each in rates)
    assert 276 <= right <= 296


def test_energy_is_that_of_all_turns_with_the_interval_over_launches() -> None:
    times = [[[1] * 10, [1] * 10]] * 3
    energies = [[1000, 3000], [2000, 4000], [3000, 5000]]  # microjoules a turn
    result = energy(energies, times, 2)
    assert result is not None
    assert result.value == pytest.approx(18 / 120)
    wide = 4.303 * np.log([4 / 40, 6 / 40, 8 / 40]).std(ddof=1) / math.sqrt(3)
    assert math.log(result.high / result.value) == pytest.approx(wide, rel=1e-3)
    assert energy([[1000, 3000], [2000]], times[:2], 2) is None
    none = energy([[0, 0], [2000, 4000]], times[:2], 2)  # counters of some machines are coarse
    assert none is not None
    assert (none.low, none.high) == pytest.approx((0, 6 / 40))


def test_a_percentile_needs_ten_samples_beyond_it() -> None:
    assert [needed(percent) for percent in (50, 90, 99)] == [20, 100, 1000]
    for percent in (50, 90, 99):
        count = needed(percent)
        assert supported(percent, count)
        assert not supported(percent, count - 1)


def test_percentiles_are_those_that_are_computed_one_by_one() -> None:
    generator = np.random.default_rng(3)
    launches = [generator.integers(1000, 9000, (6, 40)).tolist() for _ in range(5)]
    together = percentiles(launches, (50, 90, 99))
    assert together == [percentile(launches, percent) for percent in (50, 90, 99)]
    assert percentiles([[[5] * 30]], (50, 99))[1] is None


def test_throughput_is_rows_over_time() -> None:
    launches = [[[1_000_000] * 10, [3_000_000] * 10]]
    rate = throughput(launches, 8)
    assert rate.value == pytest.approx(4000)
    assert rate.low == pytest.approx(8 / 0.003)
    assert rate.high == pytest.approx(8 / 0.001)
