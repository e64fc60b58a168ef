"""TensorRT engines, with the ONNX files from which the engines are rebuilt."""

from __future__ import annotations

from pathlib import Path

from bmc.bundle_formats import onnx
from bmc.contracts import Format

ENGINE_SOURCE = "model.onnx"


def files(folder: Path, model: str) -> tuple[str, ...]:
    """Return the paths of the engine's file, its ONNX file, and the ONNX file's external data."""
    has_source = (folder / ENGINE_SOURCE).exists()
    return (model, *(onnx.files(folder, ENGINE_SOURCE) if has_source else ()))


FORMAT = Format(
    about="TensorRT on an NVIDIA GPU",
    session="bmc.targets.tensorrt",
    exporter="bmc.export.tensorrt",
    files=files,
    dialect="bmc.export.dialects.tensorrt",
    source=ENGINE_SOURCE,
    stand_ins=("onnx", "openvino"),
)
