"""Write and copy ONNX files; weights beyond the limit of a file lie beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx_ir

MODEL = "model.onnx"
WEIGHTS = "model.onnx.data"
MOST_INSIDE = 1 << 30  # protobuf reads at most 2 GiB, and onnx_ir's own copies need room


def save_graph(model: onnx_ir.Model, path: Path) -> None:
    """Write a graph; weights of more than 1 GiB go to model.onnx.data in the same folder.

    Fewer weights go into the file, also where the graph was read with a file of weights.
    """
    if is_large(model):
        onnx_ir.save(model, path, external_data=WEIGHTS)
        return
    onnx_ir.external_data.load_to_model(model)
    onnx_ir.save(model, path)
    path.with_name(WEIGHTS).unlink(missing_ok=True)


def is_large(model: onnx_ir.Model) -> bool:
    """Tell whether a graph has more weights than are written into one file."""
    size = sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )
    return size > MOST_INSIDE


def copy_graph(path: Path, folder: Path) -> None:
    """Copy an ONNX file into a bundle as model.onnx, with the weights that `save_graph` wrote."""
    shutil.copyfile(path, folder / MODEL)
    weights = path.with_name(WEIGHTS)
    if weights.exists():
        shutil.copyfile(weights, folder / WEIGHTS)
