"""Generate samples of an ONNX file's inputs from their types and from the tables they index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bmc.errors import UsageError
from bmc.onnx_models.reading import Declared, OnnxFile, constant_of
from bmc.onnx_models.samples import Samples, fingerprint

GENERATED = "generated"
"""The reference of generated samples."""
_CALLS = 16
_LENGTH = 32  # of a dynamic axis
_PIXELS = 224
_FLAGS = 2  # values of an integer of unknown meaning
_STEPS = 4  # from an input to the table that it indexes
_FORMS = ("Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Transpose")


def generate(file: OnnxFile, count: int = _CALLS) -> Samples:
    """Generate samples: floats from a normal distribution, integers below the table they index.

    Dynamic axes have 32 entries, those of images 224, and a first axis 1. Masks are all ones, bytes
    are 0 to 255, and other integers 0 or 1 where no table says how many there are.

    Args:
        file: the model.
        count: number of calls.
    """
    generator = np.random.default_rng(0)
    tables = _indexed_rows(file)
    calls = tuple(
        {info.name: _generated(info, tables.get(info.name), generator) for info in file.inputs}
        for _ in range(count)
    )
    return Samples(calls, GENERATED, fingerprint(calls))


def unknown_integers(file: OnnxFile) -> list[str]:
    """Return the names of the inputs whose integers are drawn as 0 or 1, for want of a meaning."""
    tables = _indexed_rows(file)
    return [
        info.name
        for info in file.inputs
        if np.dtype(info.dtype).kind in "iu"
        and not (_is_mask(info) or _is_type(info))
        and info.dtype != "uint8"
        and info.name not in tables
    ]


def _indexed_rows(file: OnnxFile) -> dict[str, int]:
    """Return how many entries the constant tables have that inputs index, at least, by input."""
    rows: dict[str, int] = {}
    for value in file.graph.inputs:
        sizes = list(_sizes_indexed_by(value))
        if sizes:
            rows[str(value.name)] = min(sizes)
    return rows


def _sizes_indexed_by(value: onnx_ir.Value, steps: int = _STEPS) -> Iterator[int]:
    """Yield the sizes of the axes of constant tables that a value, or a form of it, indexes."""
    for node, index in value.uses():
        if node.op_type == "Gather" and index == 1:
            table, axis = constant_of(node.inputs[0]), node.attributes.get_int("axis", 0)
            size = table.shape[axis] if table is not None else None
            if isinstance(size, int):
                yield size
        elif node.op_type in _FORMS and index == 0 and steps:
            yield from _sizes_indexed_by(node.outputs[0], steps - 1)


def _generated(info: Declared, table: int | None, generator: np.random.Generator) -> NDArray[Any]:
    dtype = np.dtype(info.dtype)
    if info.shape is None:
        raise UsageError(
            f"input {info.name!r} declares no shape, so none is generated: pass --samples ROWS.npz"
        )
    shape = tuple(_size(info.shape, index) for index in range(len(info.shape)))
    if dtype.kind == "b" or _is_mask(info):
        return np.ones(shape, dtype)
    if dtype.kind == "f":
        return np.asarray(generator.standard_normal(shape), dtype)
    if table is None and _is_type(info):
        return np.zeros(shape, dtype)
    if table is None and dtype == np.uint8:
        return np.asarray(generator.integers(0, 256, shape), dtype)
    return np.asarray(generator.integers(0, table or _FLAGS, shape), dtype)


def _size(shape: Sequence[int | str], index: int) -> int:
    size = shape[index]
    if isinstance(size, int):
        return size
    if index == 0:
        return 1
    return _PIXELS if len(shape) == 4 else _LENGTH


def _is_mask(info: Declared) -> bool:
    name = re.sub("[^a-z]+$", "", info.name.lower())  # as of attention_mask:0
    return name.endswith("mask") if np.dtype(info.dtype).kind == "f" else "mask" in name


def _is_type(info: Declared) -> bool:
    return "type" in info.name.lower()
