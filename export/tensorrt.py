"""TensorRT: an engine built ahead of time, with the ONNX file that it can be rebuilt from."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmc.export import ExportOptions, Source, Written
from bmc.targets.tensorrt import ENGINE_SOURCE, build_engine, flavour


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.engine and model.onnx.

    Raises:
        ArtifactError: TensorRT does not take the graph; the message holds its first complaint.
    """
    inputs, outputs = source.model.encoder.tensors(), source.model.outputs()
    path, nodes = source.onnx()
    shutil.copyfile(path, folder / ENGINE_SOURCE)
    limits = {"batch": options.max_batch, **source.model.encoder.longest()}
    engine = build_engine(folder / ENGINE_SOURCE, inputs, limits)
    (folder / "model.engine").write_bytes(engine)
    build = {"opset": options.opset, "nodes": nodes, "tensorrt": flavour()}
    build |= {"max_batch": options.max_batch, "limits": limits}
    return Written("model.engine", inputs, outputs, build)
