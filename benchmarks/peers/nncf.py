"""Peer: `nncf.quantize` of an OpenVINO model with its defaults, in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers._environment import run_on_rows

_PROGRAM = """
import json, sys, numpy, nncf, openvino
source, rows, made = sys.argv[1:]
model = openvino.Core().read_model(source)
with open(rows) as file:
    batches = [{name: numpy.array(value) for name, value in row.items()} for row in json.load(file)]
data = nncf.Dataset(batches)
quantized = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER)
openvino.save_model(quantized, made, compress_to_fp16=False)
"""


def quantize(model: Path, batches: Sequence[Mapping[str, NDArray[np.int64]]], path: Path) -> None:
    """Quantize an OpenVINO file with the documented settings for transformers; write it to `path`.

    Args:
        model: .xml or .onnx, in float.
        batches: named inputs; NNCF takes the first 300.
        path: .xml.
    """
    run_on_rows("nncf", _PROGRAM, model, batches, path)
