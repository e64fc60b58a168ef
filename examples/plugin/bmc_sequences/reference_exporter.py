"""Write the ONNX file that the reference implementation runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmc.bundle import Bundle
from bmc.contracts import Exporter
from bmc.export import ExportOptions, Source, Written
from bmc.inspect.executed import Executed


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.onnx."""
    path, nodes = source.onnx("onnx-reference")
    shutil.copyfile(path, folder / "model.onnx")
    build = {"opset": source.opset, "nodes": nodes, **source.batch}
    return Written("model.onnx", source.model.encoder.tensors(), source.model.outputs(), build)


def executed(bundle: Bundle) -> list[Executed]:
    """Return nothing: numpy computes in float what is quantized before and after."""
    return []


EXPORTER = Exporter(write=write, executed=executed)
