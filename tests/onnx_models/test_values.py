"""Values and marks: what is masked decides neither scale nor similarity."""

from __future__ import annotations

import numpy as np
import pytest

from bmc.onnx_models.values import is_value


@pytest.mark.parametrize(
    "mark", [-1e9, 1e9, -1e4, -65504.0, -np.inf, np.nan, float(np.finfo(np.float32).min)]
)
def test_a_mark_of_what_is_masked_is_no_value(mark: float) -> None:
    scores = np.array([[0.5, mark], [0.25, 2.0]])
    assert is_value(scores, scores).tolist() == [[True, False], [True, True]]


def test_several_marks_are_no_values() -> None:
    scores = np.array([0.5, -1e9, -1e4, float(np.finfo(np.float32).min)])
    assert is_value(scores, scores).tolist() == [True, False, False, False]


def test_a_mark_that_changes_is_a_value() -> None:
    expected = np.array([0.5, 1e9])
    assert is_value(np.array([0.5, 1.1e9]), expected).all()


def test_large_values_are_values() -> None:
    rows: tuple[list[float], ...] = (
        [300_000.0, 5.0],
        [1e9, 2e9],
        [1e4, 5e3],
        [0.0, 1e6],
        [3.0, 3.0],
        [1e-9, 9e-6],
        [],
    )
    for values in rows:
        assert is_value(np.array(values), np.array(values)).all()
