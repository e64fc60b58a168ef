"""ONNX: portable operators of one opset, weights inside the file."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmc.export import ExportOptions, Source, Written


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.onnx."""
    path, nodes = source.onnx()
    shutil.copyfile(path, folder / "model.onnx")
    build = {"opset": options.opset, "nodes": nodes}
    return Written("model.onnx", source.model.encoder.tensors(), source.model.outputs(), build)
