"""TensorRT engines, with the ONNX file that an engine is rebuilt from."""

from __future__ import annotations

from pathlib import Path

from bmc.bundle_formats import onnx
from bmc.contracts import Format

ENGINE_SOURCE = "model.onnx"


def files(folder: Path, model: str) -> tuple[str, ...]:
    """Return the engine's file and those of its source."""
    source = (folder / ENGINE_SOURCE).exists()
    return (model, *(onnx.files(folder, ENGINE_SOURCE) if source else ()))


FORMAT = Format(
    about="TensorRT on an NVIDIA GPU",
    session="bmc.targets.tensorrt",
    exporter="bmc.export.tensorrt",
    files=files,
    dialect="bmc.export.dialects.tensorrt",
    source=ENGINE_SOURCE,
    stand_ins=("onnx", "openvino"),
)
