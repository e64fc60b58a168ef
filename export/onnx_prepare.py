"""Prepare an ONNX graph for quantization: fold constants and batch norms, and infer shapes."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.quantization.quant_utils import add_infer_metadata
from onnxruntime.quantization.shape_inference import quant_pre_process

from bmc.errors import ExportError, reason_of
from bmc.export.graph_files import WEIGHTS

MIN_EXTERNAL = 1 << 20
"""Bytes of a weight that stays out of the file of a graph of more than 1 GiB."""
_ERRORS = 3
_EXTERNAL = "session.optimized_model_external_initializers"


def fold(path: Path, prepared: Path) -> onnx.ModelProto:
    """Fold what can be folded, and return the graph with the shapes of its tensors.

    Large weights of a graph of more than 1 GiB are not read into memory: the graph names the file
    in which they lie, beside `prepared`.

    Args:
        path: file of the graph, as `bmc.export.graph_files.save_graph` writes it.
        prepared: file to write.

    Raises:
        ExportError: ONNX Runtime cannot prepare the graph.
    """
    onnxruntime.set_default_logger_severity(_ERRORS)  # it warns of weights that nothing reads
    try:
        if not path.with_name(WEIGHTS).exists():
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            return onnx.load(str(prepared))
        # quant_pre_process would hold all weights in memory, twice.
        folded = prepared.with_name("folded.onnx")
        _write_folded(path, folded)
        onnx.shape_inference.infer_shapes_path(str(folded), str(prepared))
        return onnx.load(str(prepared), load_external_data=False)
    except Exception as error:  # onnxruntime and onnx raise errors of several libraries
        raise ExportError(f"ONNX Runtime cannot prepare the graph: {reason_of(error)}") from error


def _write_folded(path: Path, folded: Path) -> None:
    """Let ONNX Runtime write the graph that it folds, with its large weights beside it."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _ERRORS
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(folded)
    settings.add_session_config_entry(f"{_EXTERNAL}_file_name", f"{folded.name}.data")
    settings.add_session_config_entry(f"{_EXTERNAL}_min_size_in_bytes", str(MIN_EXTERNAL))
    settings.add_session_config_entry("session.disable_prepacking", "1")  # copies of the weights
    onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def save_inferred(model: onnx.ModelProto, prepared: Path) -> None:
    """Write a prepared graph after changes, with the types that follow from them.

    QDQQuantizer would otherwise infer them in a copy of the graph, each time that it quantizes.

    Args:
        model: the graph.
        prepared: file to write, in the folder of the graph's weights.

    Raises:
        ExportError: the types contradict each other.
    """
    add_infer_metadata(model)
    changed = prepared.with_name("changed.onnx")
    onnx.save_model(model, str(changed))
    try:
        onnx.shape_inference.infer_shapes_path(str(changed), str(prepared))
    except Exception as error:  # onnx's own classes have no public base
        raise ExportError(f"the shapes of the graph contradict: {reason_of(error)}") from error
    os.unlink(changed)
