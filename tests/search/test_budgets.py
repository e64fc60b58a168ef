"""Budgets: how they are typed, which are refused, and the sentence where none is met."""

from __future__ import annotations

from typing import Any

import pytest

from bmc.errors import SettingError, UsageError
from bmc.search.budgets import Budgets, Limits, Measured, shown

MODEL = Measured(0.0, 12_000_000, 6.0)


def test_sizes_and_latencies_are_read_in_their_units_or_as_shares_of_the_model() -> None:
    assert Budgets(1, "5MB", "1ms").limits(MODEL) == Limits(1, 5e6, 1.0)
    assert Budgets(None, "500 kB", "250us").limits(MODEL) == Limits(None, 5e5, 0.25)
    limits = Budgets(0.5, "1/6", "0.25x").limits(MODEL)
    assert limits.bytes == pytest.approx(2e6)
    assert limits.milliseconds == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"max_size": "5"}, "max size is '5'; it must look like 5MB"),
        ({"max_size": "5ms"}, "max size is '5ms'; it must look like 5MB"),
        ({"max_latency": "1MB"}, "max latency is '1MB'; it must look like 1ms"),
        ({"max_latency": "2x"}, "lies between 0 and 1"),
        ({"max_latency": "1/0"}, "lies between 0 and 1"),
        ({"max_size": "3B"}, "no model's file has fewer than"),
        ({"max_latency": "0us"}, "no call takes less than a microsecond"),
        ({"max_drop": -1}, "max drop is -1; it is in points"),
        ({"max_drop": float("nan")}, "max drop is nan; it is in points"),
        ({"minimize": "accuracy"}, "minimize is 'accuracy'; possible: latency, size, drop"),
    ],
)
def test_a_budget_that_no_model_can_meet_is_refused(budgets: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Budgets(**budgets)


def test_budgets_that_contradict_what_is_minimized_are_refused() -> None:
    with pytest.raises(UsageError, match="contradicts itself"):
        Budgets(max_drop=1, minimize="drop")
    with pytest.raises(UsageError, match="within the budgets as it is"):
        Budgets(max_size="20MB", minimize="drop").refuse_met(MODEL)


def test_a_search_minimizes_what_a_budget_or_the_goal_names() -> None:
    assert Budgets(1).objectives() == ("drop", "latency")
    assert Budgets(1, "5MB").objectives() == ("drop", "size", "latency")
    assert Budgets(1, "5MB", minimize="size").objectives() == ("drop", "size")


def test_what_is_exceeded_is_counted_in_points_and_in_shares_of_the_limit() -> None:
    limits = Limits(1.0, 5e6, 1.0)
    exceeded = limits.constraints(Measured(1.4, 4_000_000, 1.5))
    assert exceeded == pytest.approx({"parity": 0, "drop": 0.4, "size": -0.2, "latency": 0.5})
    assert limits.excess(Measured(1.4, 4_000_000, 1.5)) == pytest.approx(0.9)
    assert Limits(None, None, None).constraints(MODEL) == {"parity": 0}


def test_a_bundle_that_answers_otherwise_than_pytorch_is_beyond_the_limits() -> None:
    other = Measured(0.0, 1_000_000, 0.5, "only 92 % of rows get the same prediction")
    assert Limits(1.0, None, None).excess(other) == 1


def test_the_nearest_candidate_is_said_in_one_sentence() -> None:
    found = {"a": Measured(9.0, 5_000_000, 0.5), "b": Measured(1.4, 5_000_000, 0.9)}
    name, sentence = Limits(1.0, 5e6, 1.0).nearest(found)
    assert name == "b"
    assert sentence == (
        "no model within 1 points, 5.00 MB, 1.00 ms was found; "
        "nearest: 1.4 points at 5.00 MB and 0.900 ms"
    )
    assert shown(Measured(-0.4, 5_000_000, 0.9)) == "no points at 5.00 MB and 0.900 ms"


@pytest.mark.parametrize(
    ("limits", "may"),
    [
        (Limits(1.0, None, None), True),
        (Limits(1.0, 250.0, 3.0), True),
        (Limits(None, 100.0, None), False),
        (Limits(None, 900.0, 1.0), False),
    ],
)
def test_limits_are_known_that_fewer_bits_alone_cannot_meet(limits: Limits, may: bool) -> None:
    assert limits.may_be_met_by_bits(Measured(0.0, 1000, 10.0)) is may


def test_without_instructions_for_8_bits_they_alone_halve_a_latency_at_most() -> None:
    base = Measured(0.0, 1000, 10.0)
    assert Limits(1.0, None, 3.0).may_be_met_by_bits(base)
    assert not Limits(1.0, None, 3.0).may_be_met_by_bits(base, is_fast=False)
