"""Named numbers into one tensor: standardized, missing values filled, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import inputs
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs.features import FeatureEncoder, FeatureSettings, encoder_for, number_of

ENCODER = FeatureEncoder(FeatureSettings(("a", "b", "same"), (1, -1, 7), (2, 0.5, 0), (5, 6, 7)))


def encoded(row: Any) -> list[float]:
    return [float(value) for value in ENCODER.encode([row])[0]]


def test_each_column_is_shifted_and_scaled_and_a_constant_one_becomes_zero() -> None:
    assert encoded({"a": 5, "b": 0, "same": 8}) == [2, 2, 0]
    assert ENCODER.encode([(5, 0, 8)]).dtype == np.float32


def test_a_row_may_be_a_mapping_in_any_order_a_tuple_or_an_array() -> None:
    expected = encoded({"a": 3, "b": 1, "same": 7})
    assert encoded({"same": 7, "b": 1, "a": 3, "name": "further keys are ignored"}) == expected
    assert encoded((3, True, 7.0)) == expected
    assert encoded(np.array([3, 1, 7])) == expected


def test_none_and_nan_take_the_median_of_the_training_rows() -> None:
    assert encoded((None, math.nan, 7)) == encoded((5, 6, 7))
    masked = np.ma.array([[99, 6, 7]] * 2, mask=[[True, False, False]] * 2)
    np.testing.assert_array_equal(ENCODER.encode(masked), ENCODER.encode([(None, 6, 7)] * 2))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"a": 1, "same": 7}, "row 2 has no column 'b'; the model takes a, b, same. None stands"),
        ((1, 2), "row 2 has 2 values; the model takes 3: a, b, same"),
        ((1, [2, 3], 7), r"row 2, column 'b' holds \[2, 3\] \(list\); the model takes numbers"),
        ((1, "2", 7), r"row 2, column 'b' holds '2' \(str\); the model takes numbers"),
        ((1, math.inf, 7), "row 2, column 'b' has inf; give a finite number, or None"),
        ((1, 10**400, 7), "row 2, column 'b' has inf; give a finite number"),
        ((1e300, 0, 7), "row 2, column 'a' has 1e\\+300; standardized, it overflows float32"),
        (1.5, r"row 2 is 1.5 \(float\); a row of numbers is a dictionary by column.*a list holds"),
        (np.zeros((2, 3)), "row 2 is an array of shape .*a list holds several rows"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_number(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ENCODER.encode([(1, 2, 7), row])


def test_moments_and_medians_are_of_the_training_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.array([[1, np.nan, 3], [2, 4, 3], [9, 8, 3]])
    settings = encoder_for(rows, ("a", "b", "same")).settings
    assert settings.median == (2, 6, 3)
    assert settings.mean == pytest.approx((4, 6, 3))
    assert settings.scale == pytest.approx((np.std([1, 2, 9]), np.std([6, 4, 8]), 0))
    assert "constant in the training rows are ignored: same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "message"),
    [([np.nan, np.nan], "column 'x' has no value in the training"), ([1, 1e40], "'x' has 1e\\+40")],
)
def test_a_column_that_cannot_be_standardized_is_refused(column: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encoder_for(np.array(column)[:, None], ("x",))


def test_probes_and_timing_inputs_have_the_shapes_that_tensors_say() -> None:
    golden = ENCODER.batch(ENCODER.encode([(1, 2, 7), (3, 4, 7)]), [1, 0])
    assert golden["features"].tolist() == ENCODER.encode([(3, 4, 7), (1, 2, 7)]).tolist()
    shapes = [arrays["features"].shape for arrays in (*ENCODER.probes(5), golden)]
    assert shapes == [(1, 3), (3, 3), (5, 3), (2, 3)]
    assert ENCODER.sized(golden, 4, 9)["features"].shape == (4, 3)
    assert ENCODER.tensors()[0].shape == ("batch", 3)
    assert ENCODER.encode([ENCODER.example()]).shape == (1, 3)


def test_an_encoder_comes_back_from_its_settings(tmp_path: Path) -> None:
    again = inputs.load(json.loads(json.dumps(ENCODER.to_json())), tmp_path)
    assert again.encode([(1, 2, 3)]).tolist() == ENCODER.encode([(1, 2, 3)]).tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []},
        {"columns": ["a", "a", "b"]},
        {"columns": ["a", 1, "b"]},
        {"columns": "abc"},
        {"mean": [1, 2]},
        {"scale": [1, -1, 0]},
        {"median": [1, 2, float("nan")]},
    ],
)
def test_malformed_settings_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="preprocessing"):
        inputs.load({**ENCODER.to_json(), **change}, tmp_path)


def test_settings_need_a_number_for_each_column() -> None:
    with pytest.raises(SettingError, match="a number for each of 2 columns"):
        FeatureSettings(("a", "b"), (0,), (1, 1), (0, 0))


@pytest.mark.parametrize(
    ("cell", "number"), [(3, 3.0), (True, 1.0), (np.float32(1.5), 1.5), ("3", None), ([1], None)]
)
def test_a_cell_is_a_number_or_none(cell: Any, number: float | None) -> None:
    assert number_of(cell) == number
