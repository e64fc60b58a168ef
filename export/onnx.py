"""ONNX: portable operators of one opset, weights inside the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx_ir
import onnxruntime

from bmc.bundle import Bundle
from bmc.contracts import Exporter
from bmc.export import ExportOptions, Source, Written, onnx_mobile
from bmc.export.graph_files import MODEL, WEIGHTS, copy_graph
from bmc.inspect.executed import Executed
from bmc.writing import scratch

_FLOAT = re.compile(r"(Fused)?(Conv|ConvTranspose|Gemm|MatMul)|Attention|LSTM|GRU|RNN")
_INTEGER = re.compile(
    r"Q(Gemm|Attention|Linear(Conv|MatMul))|(Conv|MatMul)Integer|DynamicQuantize(MatMul|LSTM)"
    r"|MatMulNBits"
)
_EXTERNAL = "session.optimized_model_external_initializers_file_name"


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.onnx, and model.ort with the list of its operators if the options say so."""
    path, nodes = source.onnx("onnx")
    copy_graph(path, folder)
    build: dict[str, Any] = {"nodes": nodes, **source.batch}
    if opset := onnx_ir.load(path).opset_imports.get(""):  # none where all are of ai.onnx.ml
        build = {"opset": opset, **build}
    if options.mobile:
        build["mobile"] = onnx_mobile.write(folder / MODEL)
    return Written(MODEL, source.model.encoder.tensors(), source.model.outputs(), build)


def executed(bundle: Bundle) -> list[Executed]:
    """Return the multiplications in the graph that ONNX Runtime optimizes a bundle's file to."""
    with scratch() as folder:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.optimized_model_filepath = str(folder / "optimized.onnx")
        if (bundle.path / WEIGHTS).exists():  # more than one file may hold
            settings.add_session_config_entry(_EXTERNAL, "optimized.onnx.data")
        onnxruntime.InferenceSession(
            str(bundle.model_path), settings, providers=["CPUExecutionProvider"]
        )
        graph = onnx_ir.load(settings.optimized_model_filepath).graph
    return [
        Executed(node.op_type, _precision(node), str(node.name))
        for node in graph
        if _FLOAT.fullmatch(node.op_type) or _INTEGER.match(node.op_type)
    ]


def _precision(node: onnx_ir.Node) -> str:
    if _INTEGER.match(node.op_type):
        return "int8"
    weight = node.inputs[1]
    half = weight is not None and weight.dtype == onnx_ir.DataType.FLOAT16
    return "float16" if half else "float32"


EXPORTER = Exporter(write=write, executed=executed)
