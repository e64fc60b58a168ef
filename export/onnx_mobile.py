"""Write an ONNX file in the format of ONNX Runtime Mobile, with the list of its operators.

A build of ONNX Runtime for small devices reads this format alone, and may be reduced to the
operators in the list. Source: ONNX Runtime documentation, "ORT model format" and "Reduced operator
config file"; `onnxruntime/tools/convert_onnx_models_to_ort.py`, of which this is the part for one
model and for any processor.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import onnxruntime

from bmc.errors import ExportError, UsageError, reason_of
from bmc.export.graph_files import WEIGHTS

MODEL, OPERATORS = "model.ort", "required_operators.config"
_PROCESSOR = "onnxruntime.tools.ort_format_model.ort_model_processor"
# Convolutions in blocks of channels are made for the processor that writes the file.
_OF_ONE_PROCESSOR = ["NchwcTransformer"]


def write(model: Path) -> dict[str, str]:
    """Write model.ort and required_operators.config next to an ONNX file.

    Args:
        model: the ONNX file.

    Returns:
        the names of both files, as manifests record them.

    Raises:
        UsageError: the weights are in a file of their own, which the format does not have.
        ExportError: ONNX Runtime cannot write the file.
    """
    folder = model.parent
    if (folder / WEIGHTS).exists():
        raise UsageError(
            "--mobile writes one file, which may have 2 GB, and these weights are larger: quantize "
            "the model, or leave --mobile out"
        )
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # that the file is for this machine: see _OF_ONE_PROCESSOR
    settings.optimized_model_filepath = str(folder / MODEL)
    # Layouts for one processor come above this level.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.add_session_config_entry("session.save_model_format", "ORT")
    settings.add_session_config_entry("session.qdqisint8allowed", "1")
    try:
        onnxruntime.InferenceSession(
            str(model),
            settings,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_OF_ONE_PROCESSOR,
        )
    except Exception as error:  # ONNX Runtime's own classes have no public base
        raise ExportError(
            f"ONNX Runtime cannot write the mobile format: {reason_of(error)}; leave --mobile out"
        ) from error
    (folder / OPERATORS).write_text("\n".join(_lines(folder / MODEL)) + "\n", encoding="utf-8")
    return {"model": MODEL, "operators": OPERATORS}


def _lines(model: Path) -> list[str]:
    """Return the lines of an operators' list: domain, version of the operators, and their names."""
    operators: dict[str, dict[int, set[str]]] = {}
    _processor()(str(model), operators, None).process()
    return [f"# operators of {model.name}"] + [
        f"{domain};{version};{','.join(sorted(operators[domain][version]))}"
        for domain in sorted(operators)
        for version in sorted(operators[domain])
    ]


def _processor() -> Any:
    """Return the reader of the format; importing it adds a handler to the log, which is removed."""
    handlers = list(logging.root.handlers)
    try:
        return importlib.import_module(_PROCESSOR).OrtFormatModelProcessor
    finally:
        logging.root.handlers[:] = handlers
