"""What a comparison of outputs with the original file's shows, and what it must not hide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bmc.errors import GateError
from bmc.export.tensor_limits import check, check_finite, doubts
from bmc.export.tensor_parity import Comparison, OutputParity

Arrays = Mapping[str, NDArray[Any]]
RANDOM = np.random.default_rng(0)


def compared(expected: Arrays, outputs: Arrays) -> dict[str, OutputParity]:
    """Return the differences of outputs, all of which count as logits."""
    comparison = Comparison(tuple(expected))
    comparison.add(outputs, expected)
    return comparison.outputs()


def values_of(expected: NDArray[Any], values: NDArray[Any]) -> dict[str, OutputParity]:
    """Return the differences of an output "y" that is neither logits nor a mask."""
    comparison = Comparison(())
    comparison.add({"y": values}, {"y": expected})
    return comparison.outputs()


def test_a_single_value_a_row_has_no_largest_one() -> None:
    values = np.arange(8, dtype=np.float32)[:, None]
    assert compared({"y": values}, {"y": values})["y"].agreement is None
    assert compared({"y": values.T}, {"y": values.T})["y"].agreement == 1


def test_a_constant_answer_far_from_zero_is_refused() -> None:
    values = np.random.default_rng(0).normal(200, 10, (64, 1)).astype(np.float32)
    outputs = compared({"y": values}, {"y": np.full_like(values, 200)})
    assert outputs["y"].cosine > 0.99
    with pytest.raises(GateError, match=r"leaves .* of the original file's variance unexplained"):
        check(outputs, "int8", 0.99)
    check(compared({"y": values}, {"y": values + 0.5}), "int8", 0.99)


def test_zeros_are_similar_to_zeros_alone() -> None:
    zeros, ones = np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32)
    assert compared({"y": zeros}, {"y": zeros})["y"].cosine == 1
    assert compared({"y": zeros}, {"y": ones})["y"].cosine == 0
    assert compared({"y": ones}, {"y": zeros})["y"].cosine == 0


def test_masks_agree_by_intersection_over_union() -> None:
    expected, values = (np.zeros((1, 1, 8, 8), np.float32) for _ in range(2))
    expected[..., :4, :], values[..., :3, :] = 0.9, 0.9
    comparison = Comparison((), ("y",))
    comparison.add({"y": values}, {"y": expected})
    parity = comparison.outputs()["y"]
    assert (parity.agreement, parity.is_mask) == (0.75, True)
    check({"y": parity}, "int8", 0.7)  # pixels may change from 0 to 1
    with pytest.raises(GateError, match=r"only 75.00% of 'y' agree"):
        check({"y": parity}, "int8", 0.8)
    comparison = Comparison((), ("y",))
    comparison.add({"y": values * 0}, {"y": expected * 0})
    outputs = comparison.outputs()
    assert outputs["y"].agreement is None  # nothing is inside
    check(outputs, "int8", 0.99)
    comparison.add({"y": values * 0 + 0.2}, {"y": expected * 0})
    with pytest.raises(GateError, match="a mask without a pixel inside, and changes by up to"):
        check(comparison.outputs(), "int8", 0.99)


def prices_and_rooms() -> NDArray[np.float32]:
    """Return two columns of very different size, of which the first is always the larger."""
    rows = RANDOM.normal((300_000, 3), (10_000, 1), (200, 2))
    return np.asarray(rows, np.float32)


@pytest.mark.parametrize("are_logits", [True, False])
def test_each_column_of_a_table_of_numbers_must_be_explained(are_logits: bool) -> None:
    expected = prices_and_rooms()
    wrong = expected.copy()
    wrong[:, 1] = 3  # the same answer for every row
    compare = compared if are_logits else lambda e, v: values_of(e["y"], v["y"])
    outputs = compare({"y": expected}, {"y": wrong})
    assert outputs["y"].cosine > 0.9999
    assert outputs["y"].agreement in (None, 1.0)
    with pytest.raises(GateError, match=r"column 1 of output 'y' leaves 10\d.\d+% of"):
        check(outputs, "int8", 0.99)
    nearly = expected * (1 + RANDOM.normal(0, 0.003, expected.shape)).astype(np.float32)
    check(compare({"y": expected}, {"y": nearly}), "int8", 0.99)


def test_equal_answers_do_not_excuse_other_values_of_what_only_may_be_logits() -> None:
    expected = prices_and_rooms()
    outputs = compared({"y": expected}, {"y": expected[::-1]})
    assert outputs["y"].agreement == 1
    with pytest.raises(GateError, match="unexplained"):
        check(outputs, "int8", 0.99)
    assert doubts(outputs)[0].startswith("output 'y' has the same answer for every sample")


def test_probabilities_are_judged_by_their_answers() -> None:
    expected = RANDOM.dirichlet(np.full(4, 0.3), 100).astype(np.float32)
    comparison = Comparison(("y",), (), ("y",))
    answers = np.eye(4, dtype=np.float32)[expected.argmax(axis=1)]
    comparison.add({"y": answers}, {"y": expected})
    parity = comparison.outputs()["y"]
    assert parity.cosine < 0.99
    check({"y": parity}, "int8", 0.99)


def test_an_image_that_a_sigmoid_computes_is_more_than_what_is_above_one_half() -> None:
    expected = RANDOM.uniform(0.6, 1.0, (4, 1, 8, 8)).astype(np.float32)
    comparison = Comparison((), ("y",))
    comparison.add({"y": np.full_like(expected, 0.8)}, {"y": expected})
    outputs = comparison.outputs()
    assert outputs["y"].agreement == 1
    with pytest.raises(GateError, match="of the original file's variance unexplained"):
        check(outputs, "int8", 0.99)


def test_scores_that_are_lost_beside_large_boxes_are_said() -> None:
    boxes, scores = RANDOM.uniform(0, 640, (2, 4, 50)), RANDOM.uniform(0, 1, (2, 3, 50))
    expected = np.concatenate([boxes, scores], axis=1).astype(np.float32)
    without = expected.copy()
    without[:, 4:] = 0
    outputs = values_of(expected, without)
    check(outputs, "int8", 0.99)  # as similar as it gets
    (doubt,) = doubts(outputs)
    assert doubt.startswith("output 'y': more than half of the variance of 3 of 7 entries along")
    assert doubts(values_of(expected, expected + 0.01)) == ()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_never_finite_was_not_compared(value: float) -> None:
    expected = np.full((4, 3), value, np.float32)
    for outputs in (values_of(expected, expected), compared({"y": expected}, {"y": expected})):
        with pytest.raises(GateError, match="'y' of the original file is NaN or infinite for ev"):
            check_finite(outputs)


def test_rows_that_are_nan_in_both_count_as_no_equal_answers() -> None:
    expected = RANDOM.normal(size=(4, 3)).astype(np.float32)
    expected[:2] = np.nan
    assert compared({"y": expected}, {"y": expected})["y"].rows == 2


def test_an_output_that_is_always_empty_is_said() -> None:
    empty = np.zeros((0, 4), np.float32)
    outputs = values_of(empty, empty)
    check(outputs, "int8", 0.99)
    assert doubts(outputs) == ("output 'y' is empty for every sample, so it was not compared",)


def test_an_output_that_is_one_number_may_change_by_a_share_of_it() -> None:
    expected = np.full((4, 1), 5, np.float32)
    check(values_of(expected, expected + 0.4), "int8", 0.99)
    with pytest.raises(GateError, match=r"the same number everywhere, 5, and changes by up to 2"):
        check(values_of(expected, expected + 2), "int8", 0.99)
