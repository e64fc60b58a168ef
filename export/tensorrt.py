"""TensorRT: an engine built ahead of time, with the ONNX file that it can be rebuilt from."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmc.export import ExportOptions, Source, Written, tensors_of
from bmc.targets.tensorrt import ENGINE_SOURCE, build_engine, flavour


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.engine and model.onnx.

    Raises:
        ArtifactError: TensorRT does not take the graph; the message holds its first complaint.
    """
    inputs, outputs = tensors_of(source.model)
    path, nodes = source.onnx()
    shutil.copyfile(path, folder / ENGINE_SOURCE)
    limits = {"max_batch": options.max_batch, "max_length": source.model.text.max_length}
    names = [info.name for info in inputs]
    engine = build_engine(folder / ENGINE_SOURCE, names, **limits)
    (folder / "model.engine").write_bytes(engine)
    build = {"opset": options.opset, "nodes": nodes, "tensorrt": flavour(), **limits}
    return Written("model.engine", inputs, outputs, build)
