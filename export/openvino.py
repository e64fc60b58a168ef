"""OpenVINO IR: converted from ONNX, weights in fp32."""

from __future__ import annotations

from pathlib import Path

import openvino

from bmc.export import ExportOptions, Source, Written


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.xml and model.bin.

    The model is read, not converted: conversion would fold packed constants back to fp32.
    """
    path, _ = source.onnx()
    openvino.save_model(
        openvino.Core().read_model(path), folder / "model.xml", compress_to_fp16=False
    )
    version = openvino.__version__.partition("-")[0]
    build = {"opset": options.opset, "openvino": version}
    return Written("model.xml", source.model.encoder.tensors(), source.model.outputs(), build)
