"""Precisions: what a record of a quantization computes with."""

from __future__ import annotations

from typing import Any

import pytest

from bmc.model import AppliedStep, Model
from bmc.precision import PRECISIONS, precision_of


def layer(bits: int, inputs: str) -> dict[str, Any]:
    return {"bits": bits, "group": 0, "inputs": inputs}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, "fp32"),
        ({"precision": "fp16", "keep": []}, "fp16"),
        ({"precision": "bf16", "keep": []}, "bf16"),
        ({"a": layer(8, "static"), "b": layer(8, "float")}, "int8"),
        ({"a": layer(8, "learned")}, "int8"),
        ({"a": layer(0, "static")}, "int8"),
        ({"a": layer(8, "dynamic"), "b": layer(8, "float")}, "int8-dynamic"),
        ({"a": layer(8, "float")}, "int8-weights"),
        ({"a": layer(7, "float")}, "int8-weights"),
        ({"a": layer(8, "float"), "b": layer(4, "float")}, "int4-weights"),
        ({"a": layer(0, "float")}, "fp32"),
    ],
)
def test_a_record_of_a_quantization_says_the_precision(
    record: dict[str, Any], expected: str, model: Model
) -> None:
    model.steps.append(AppliedStep("quantize/static", {}, record, 0, 0.0))
    assert precision_of(model) == expected
    assert expected in PRECISIONS


def test_a_model_that_is_not_quantized_last_computes_in_fp32(model: Model) -> None:
    assert precision_of(model) == "fp32"
    model.steps.append(AppliedStep("share/tie", {}, {"a": layer(8, "static")}, 0, 0.0))
    assert precision_of(model) == "fp32"
