"""Fix the number of rows that a graph computes in each call."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir

from bmc.errors import UsageError
from bmc.onnx_models.reading import OnnxFile


def with_batch(file: OnnxFile, rows: int) -> OnnxFile:
    """Return a file whose inputs have a fixed first axis.

    Args:
        file: the file; it stays as it is.
        rows: number of rows of every call.

    Raises:
        UsageError: no input has a dynamic first axis.
    """
    model = file.model.clone()
    graph = model.graph
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    dynamic = [v for v in inputs if v.shape is not None and len(v.shape) and _is_free(v.shape[0])]
    if not dynamic:
        raise UsageError(
            f"{file.path} has no input with a dynamic first axis, so --batch has nothing to "
            "fix: leave it out"
        )
    names = {_name(value.shape[0]) for value in dynamic if value.shape is not None} - {None}
    for value in dynamic:
        value.shape = _with_sizes(value, {_name(value.shape[0])} if value.shape else set(), rows)
    others = [output for node in graph for output in node.outputs]
    for value in (*inputs, *graph.outputs, *others):
        if value.shape is not None:
            value.shape = _with_sizes(value, names, rows)
    return replace(file, model=model)


def _with_sizes(value: onnx_ir.Value, names: set[str | None], rows: int) -> onnx_ir.Shape | None:
    """Return a shape in which the axes of these names have a size; None is a first axis."""
    if value.shape is None:
        return None
    return onnx_ir.Shape(
        [
            rows
            if _is_free(size) and _name(size) in names and (index == 0 or _name(size))
            else size
            for index, size in enumerate(value.shape)
        ]
    )


def _is_free(size: int | onnx_ir.SymbolicDim) -> bool:
    return not isinstance(size, int) or size < 0


def _name(size: int | onnx_ir.SymbolicDim) -> str | None:
    return None if isinstance(size, int) else size.value
