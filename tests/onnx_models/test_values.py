"""Values and marks: what is masked decides neither scale nor similarity."""

from __future__ import annotations

import numpy as np
import pytest

from bmc.onnx_models.values import is_value


@pytest.mark.parametrize("mark", [-1e9, 1e9, -np.inf, np.nan, -3.4e38])
def test_a_mark_of_what_is_masked_is_no_value(mark: float) -> None:
    scores = np.array([[0.5, mark], [0.25, 2.0]])
    assert is_value(scores, scores).tolist() == [[True, False], [True, True]]


def test_a_large_value_that_changes_is_a_value() -> None:
    expected = np.array([0.5, 1e9])
    assert is_value(np.array([0.5, 1.1e9]), expected).all()


def test_values_of_one_scale_are_values() -> None:
    for values in ([1e9, 2e9], [0.0, 5.0], [3.0, 3.0], [1e-9, 9e-6], []):
        assert is_value(np.array(values), np.array(values)).all()
