"""What a comparison of outputs with the original file's shows, and what it must not hide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bmc.errors import GateError
from bmc.export.tensor_limits import check, check_finite, doubts
from bmc.export.tensor_parity import Comparison, OutputParity, figures_of

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
def test_a_column_that_larger_ones_hide_must_be_explained(are_logits: bool) -> None:
    expected = prices_and_rooms()
    wrong = expected.copy()
    wrong[:, 1] = 3  # the same answer for every row
    compare = compared if are_logits else lambda e, v: values_of(e["y"], v["y"])
    outputs = compare({"y": expected}, {"y": wrong})
    assert outputs["y"].cosine > 0.9999
    assert outputs["y"].agreement in (None, 1.0)
    with pytest.raises(GateError, match=r"column 1 of output 'y', .*, leaves 10\d.\d+% of"):
        check(outputs, "int8", 0.99)
    check(outputs, "int8", 0.9)  # a constant answer is within this limit
    nearly = expected * (1 + RANDOM.normal(0, 0.003, expected.shape)).astype(np.float32)
    check(compare({"y": expected}, {"y": nearly}), "int8", 0.99)


def test_equal_answers_do_not_excuse_other_values_of_what_only_may_be_logits() -> None:
    expected = prices_and_rooms()[:, ::-1] * [1.0, 1e5]  # of one size, the first always larger
    outputs = compared({"y": expected}, {"y": expected[::-1]})
    assert outputs["y"].agreement is not None
    with pytest.raises(GateError, match=r"agree|unexplained"):
        check(outputs, "int8", 0.99)


@pytest.mark.parametrize("logits", [[3.0, -3.0], [5.0, -4.0, -4.0, -4.0]])
def test_logits_of_samples_of_one_class_may_vary_less_than_they_change(logits: list[float]) -> None:
    shape = (32, len(logits))
    expected = np.array(logits) + RANDOM.normal(0, 0.2, shape)
    outputs = compared({"y": expected}, {"y": expected + RANDOM.normal(0, 0.1, shape)})
    check(outputs, "int8", 0.99)
    assert doubts(outputs)[0].startswith("output 'y' has the same answer everywhere")


def test_rare_labels_of_a_sigmoid_may_vary_less_than_they_change() -> None:
    expected = RANDOM.uniform(0, 1, (64, 6))
    expected[:, 3] *= 1e-3
    values = expected + RANDOM.normal(0, 5e-4, expected.shape)
    comparison = Comparison((), (), ("y",))
    comparison.add({"y": values}, {"y": expected})
    outputs = comparison.outputs()
    check(outputs, "int8", 0.99)
    assert doubts(outputs) == ()
    with pytest.raises(GateError, match="column 3"):
        check(values_of(expected, values), "int8", 0.99)  # where nothing says that it is one


def test_probabilities_of_a_softmax_are_judged_by_their_answers() -> None:
    expected = RANDOM.dirichlet(np.full(4, 0.3), 100).astype(np.float32)
    answers = np.eye(4, dtype=np.float32)[expected.argmax(axis=1)]
    comparison = Comparison(("y",), (), ("y",))
    comparison.add({"y": answers}, {"y": expected})
    parity = comparison.outputs()["y"]
    assert parity.cosine < 0.99
    check({"y": parity}, "int8", 0.99)


def test_an_image_that_a_sigmoid_computes_is_more_than_what_is_above_one_half() -> None:
    expected = RANDOM.uniform(0.6, 1.0, (4, 1, 8, 8)).astype(np.float32)
    comparison = Comparison((), ("y",), ("y",))
    comparison.add({"y": np.full_like(expected, 0.8)}, {"y": expected})
    outputs = comparison.outputs()
    assert outputs["y"].agreement == 1
    with pytest.raises(GateError, match="of the original file's variance unexplained"):
        check(outputs, "int8", 0.99)


def test_a_mask_with_few_pixels_inside_may_have_a_background_that_varies() -> None:
    expected = RANDOM.uniform(0, 0.02, (2, 1, 128, 128))
    expected[:, :, :2, :10] = 0.95
    values = np.abs(expected + RANDOM.normal(0, 0.004, expected.shape))
    comparison = Comparison((), ("y",), ("y",))
    comparison.add({"y": values}, {"y": expected})
    assert comparison.outputs()["y"].agreement == 1
    check(comparison.outputs(), "int8", 0.99)


def test_scores_that_are_lost_beside_large_boxes_are_said() -> None:
    boxes, scores = RANDOM.uniform(100, 640, (4, 4, 50)), RANDOM.uniform(0, 1, (4, 3, 50))
    expected = np.concatenate([boxes, scores], axis=1)
    without = expected.copy()
    without[:, 4:] = 0
    outputs = values_of(expected, without)
    check(outputs, "int8", 0.99)  # as similar as it gets
    (doubt,) = doubts(outputs)
    assert doubt.startswith("output 'y' has 3 of 7 entries along axis 1 of whose variance more")
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


def test_outputs_of_other_shapes_are_refused_or_said_to_be_uncompared() -> None:
    comparison = Comparison(())
    scores = np.array([[0.5, 0.25]])
    comparison.add(
        {"boxes": np.ones((2, 4)), "scores": scores},
        {"boxes": np.full((3, 4), 640.0), "scores": scores},
    )
    outputs = comparison.outputs()
    with pytest.raises(GateError, match="output 'boxes' has another shape in the bundle for 1 of"):
        check(outputs, "int8", 0.99)
    assert doubts(outputs) == (
        "output 'boxes' has another shape in 1 of the calls, which were not compared",
    )
    figures = figures_of(outputs, 1)
    assert (figures["cosine"], figures["scales"]["boxes"]) == (1.0, 640.0)
    assert outputs["boxes"].cosine == 0


def test_an_output_that_is_one_number_may_change_by_a_share_of_it() -> None:
    expected = np.full((4, 1), 5, np.float32)
    check(values_of(expected, expected + 0.4), "int8", 0.99)
    with pytest.raises(GateError, match=r"the same number everywhere, 5, and changes by up to 2"):
        check(values_of(expected, expected + 2), "int8", 0.99)
