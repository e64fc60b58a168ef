"""TensorRT engines, with the ONNX file that an engine is rebuilt from."""

from __future__ import annotations

from pathlib import Path

from bmc.contracts import Dialect, Format
from bmc.formats import onnx

ENGINE_SOURCE = "model.onnx"


def files(folder: Path, model: str) -> tuple[str, ...]:
    """Return the engine's file and those of its source."""
    source = (folder / ENGINE_SOURCE).exists()
    return (model, *(onnx.files(folder, ENGINE_SOURCE) if source else ()))


DIALECT = Dialect(
    inputs="int8",
    int32_bias=False,
    gather_before_dequantize=False,
    explicit_zero_points=False,
    unsupported=("int8-dynamic",),
    float_weights_only=("GRU",),  # the builder of TensorRT for RTX 1.7: an internal error
)
FORMAT = Format(
    about="TensorRT on an NVIDIA GPU",
    session="bmc.targets.tensorrt",
    exporter="bmc.export.tensorrt",
    files=files,
    dialect=DIALECT,
    source=ENGINE_SOURCE,
    stand_ins=("onnx", "openvino"),
)
