"""Rows of ONNX files of other tools: the input tensors by name, checked and passed on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bmc import inputs
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs.tensors import AxisSize, TensorInput, TensorsEncoder

X = TensorInput("x", "float32", ("batch", "steps", 2), -1.0, 1.0)
IDS = TensorInput("a/ids:0", "int64", ("batch", "steps"), 0.0, 9.0)


@pytest.fixture
def encoder() -> TensorsEncoder:
    return TensorsEncoder([X, IDS], {"steps": AxisSize(3, 7)})


def row(steps: int = 3, rows: int = 1) -> dict[str, Any]:
    """Return the tensors of a call."""
    return {"x": np.ones((rows, steps, 2)), "a/ids:0": np.full((rows, steps), 4, np.int32)}


def test_tensors_are_converted_to_the_dtypes_of_the_inputs(encoder: TensorsEncoder) -> None:
    arrays = encoder.batch(encoder.encode([row()]), [0])
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "x": "float32",
        "a/ids:0": "int64",
    }


def test_a_row_may_be_a_tuple_in_the_order_of_the_inputs(encoder: TensorsEncoder) -> None:
    assert encoder.encode([tuple(row().values())])[0]["x"].shape == (1, 3, 2)


def test_the_name_of_an_input_may_be_typed_as_the_number_that_it_is() -> None:
    encoder = TensorsEncoder([TensorInput("0", "float32", ("batch", 2), 0.0, 1.0)], {})
    row: Any = {0: np.ones((1, 2))}
    assert encoder.encode([row])[0]["0"].tolist() == [[1.0, 1.0]]


def test_rows_are_put_together_along_the_batch_axis(encoder: TensorsEncoder) -> None:
    arrays = encoder.batch(encoder.encode([row(), row(rows=2)]), [0, 1])
    assert arrays["a/ids:0"].shape == (3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones(1)}, "row 1 has the arrays x, a/ids:0, y; the model takes x, a/ids:0"),
        ({"\ud800": np.ones(1)}, r"the arrays x, a/ids:0, \\ud800; the model"),  # JSON may have it
        (
            {"x": np.ones((1, 3, 4))},
            r"x has shape \(1, 3, 4\); the model takes \(batch, steps, 2\)",
        ),
        ({"x": np.ones((1, 0, 2))}, "x has shape"),
        ({"x": np.array([["a"]])}, "x is <U1; the model takes float32"),
        ({"a/ids:0": np.ones((1, 3))}, "a/ids:0 is float64; the model takes int64"),
        ({"a/ids:0": np.full((1, 3), 2**63, np.uint64)}, "holds values outside the range of int64"),
        ({"x": np.full((1, 3, 2), 1e300)}, "holds values outside the range of float32"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    encoder: TensorsEncoder, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        encoder.encode([{**row(), **change}])


def test_a_model_without_a_batch_axis_takes_one_call_at_a_time() -> None:
    encoder = TensorsEncoder([TensorInput("sr", "int64", (), 8000, 16000)], {})
    calls = encoder.encode([np.int64(16000), np.int64(8000)])
    assert encoder.batch(calls, [1])["sr"] == 8000
    with pytest.raises(DataError, match="has no batch axis: pass one row"):
        encoder.batch(calls, [0, 1])
    with pytest.raises(SettingError, match="batch is 2"):
        encoder.sized(calls[0], 2, 32)


def test_a_benchs_batch_repeats_the_first_golden_row(encoder: TensorsEncoder) -> None:
    assert encoder.sized(encoder.encode([row()])[0], 4, 99)["x"].shape == (4, 3, 2)


def test_the_example_has_the_sizes_of_the_first_sample(encoder: TensorsEncoder) -> None:
    assert encoder.example()["a/ids:0"].shape == (1, 3)
    assert {arrays["x"].shape for arrays in encoder.probes(8)} == {(1, 3, 2), (3, 3, 2)}
    assert encoder.longest() == {"steps": 7}


def test_settings_make_the_same_encoder(encoder: TensorsEncoder, tmp_path: Any) -> None:
    loaded = inputs.load(encoder.to_json(), tmp_path)
    assert isinstance(loaded, TensorsEncoder)
    assert (loaded.inputs, loaded.axes) == (encoder.inputs, encoder.axes)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": None},
        {"axes": {}},
        {"axes": {"steps": {"typical": 3, "largest": 1}}},
        {"axes": {"steps": {"typical": True, "largest": 1}}},
        {"inputs": [{"name": "x"}]},
        {"inputs": [{"name": "x", "dtype": "object", "shape": [1], "low": 0, "high": 0}]},
        {"inputs": [{"name": "x", "dtype": "int64", "shape": [0], "low": 0, "high": 0}]},
        {"inputs": [{"name": "x", "dtype": "int64", "shape": [1], "low": 1, "high": 0}]},
        {"inputs": [{"name": "x", "dtype": "int64", "shape": [1], "low": "0", "high": 0}]},
    ],
)
def test_malformed_settings_are_refused(
    encoder: TensorsEncoder, change: dict[str, Any], tmp_path: Any
) -> None:
    with pytest.raises(ArtifactError):
        inputs.load({**encoder.to_json(), **change}, tmp_path)


def test_rows_have_no_length_that_could_be_chosen(encoder: TensorsEncoder) -> None:
    assert inputs.longest_row(encoder) is None
    assert "steps" in encoder.longest()
