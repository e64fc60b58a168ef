"""What a model's outputs become where no prediction can be made of them."""

from __future__ import annotations

import numpy as np
import pytest

from bmc.predictions import predictions_of


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_row_with_an_output_that_is_not_finite_has_no_prediction(task: str, value: float) -> None:
    width = 1 if task == "regression" else 2
    outputs = np.zeros((2, width), np.float32)
    outputs[1, -1] = value
    first, second = predictions_of(outputs, task, ["a", "b"], (0.5, 0.5))
    assert first is not None
    assert second is None
