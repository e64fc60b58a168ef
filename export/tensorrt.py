"""Export to TensorRT: an engine, and the ONNX file that the engine can be rebuilt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bmc.bundle import Bundle
from bmc.bundle_formats.tensorrt import ENGINE_SOURCE
from bmc.contracts import Exporter
from bmc.export import ExportOptions, Source, Written
from bmc.export.graph_files import copy_graph
from bmc.inspect.executed import Executed
from bmc.targets.tensorrt import build_engine, layers_of, version


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.engine and model.onnx.

    Raises:
        ArtifactError: TensorRT cannot build the graph; the message contains its first error.
    """
    inputs, outputs = source.model.encoder.tensors(), source.model.outputs()
    path, nodes = source.onnx("tensorrt")
    copy_graph(path, folder)
    max_batch = source.batch.get("max_batch", options.max_batch)
    limits = {"batch": max_batch, **source.model.encoder.longest()}
    engine = build_engine(folder / ENGINE_SOURCE, inputs, limits)
    (folder / "model.engine").write_bytes(engine)
    build: dict[str, Any] = {"opset": source.opset} if source.opset else {}
    build |= {"nodes": nodes, "tensorrt": version()}
    build |= {"max_batch": max_batch, "limits": limits, **source.batch}
    return Written("model.engine", inputs, outputs, build)


def executed(bundle: Bundle) -> list[Executed]:
    """Return the multiplications of the network as TensorRT parses it.

    The kernels that TensorRT chooses are unknown here: only a GPU can inspect an engine. TensorRT
    can fuse a multiplication whose inputs are dequantized to an int8 multiplication.
    """
    return [
        Executed(kind, precision, name)
        for kind, precision, name in layers_of(bundle.path / ENGINE_SOURCE)
    ]


EXPORTER = Exporter(write=write, executed=executed)
