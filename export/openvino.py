"""OpenVINO IR: converted from ONNX, weights in fp32."""

from __future__ import annotations

from pathlib import Path

import openvino

from bmc.bundle import Bundle
from bmc.export import ExportOptions, Source, Written, dialects
from bmc.inspect.executed import Executed

_LAYERS = ("Convolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell")
_PRECISIONS = {"i8": "int8", "u8": "uint8", "f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.xml and model.bin.

    The model is read, not converted: conversion would fold packed constants back to fp32.
    """
    path, _ = source.onnx(dialects.OPENVINO)
    openvino.save_model(
        openvino.Core().read_model(path), folder / "model.xml", compress_to_fp16=False
    )
    version = openvino.__version__.partition("-")[0]
    build = {"opset": source.opset, "openvino": version}
    return Written("model.xml", source.model.encoder.tensors(), source.model.outputs(), build)


def executed(bundle: Bundle) -> list[Executed]:
    """Return the multiplications of the graph that OpenVINO compiles, at the hint f32."""
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(bundle.model_path), "CPU", settings)
    found = []
    for operator in compiled.get_runtime_model().get_ordered_ops():
        info = operator.get_rt_info()
        kind, precision = (str(info[key].value) for key in ("layerType", "runtimePrecision"))
        if kind in _LAYERS:
            name = operator.get_friendly_name()
            found.append(Executed(kind, _PRECISIONS.get(precision, precision), name))
    return found
