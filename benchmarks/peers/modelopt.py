"""Peer: `modelopt.onnx.quantization.quantize` of an ONNX file, in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers._environment import run_on_rows

_PROGRAM = """
import json, sys, numpy
from modelopt.onnx.quantization import quantize
from onnxruntime.quantization.calibrate import CalibrationDataReader

source, rows, made = sys.argv[1:]
with open(rows) as file:
    batches = [{name: numpy.array(value) for name, value in row.items()} for row in json.load(file)]

class Reader(CalibrationDataReader):
    def __init__(self): self.rewind()
    def get_next(self): return next(self.left, None)
    def get_first(self): return batches[0]
    def rewind(self): self.left = iter(batches)

quantize(
    source, "int8", calibration_data_reader=Reader(), calibration_eps=["cpu"],
    high_precision_dtype="fp32", output_path=made,
)
"""


def quantize(model: Path, batches: Sequence[Mapping[str, NDArray[np.int64]]], path: Path) -> None:
    """Quantize an ONNX file to int8 with ModelOpt's defaults; other operators stay in fp32.

    Args:
        model: .onnx, in float.
        batches: input arrays by name, one row in each batch.
        path: .onnx.
    """
    run_on_rows("modelopt", _PROGRAM, model, batches, path)
