"""Torch to ONNX: the inference form, with dynamic batch and sequence, and a clean graph."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx_ir
import torch
from onnx_ir.passes import common
from torch import nn

from bmc import plugins
from bmc.export import tensors_of
from bmc.model import Model


def write_onnx(model: Model, path: Path, opset: int) -> dict[str, int]:
    """Write a model's inference form (or the model itself, where it has none) as ONNX.

    The graph keeps no traces of the machine that made it: node metadata holds stack traces with
    file paths, and a deployed file should not.

    Args:
        model: a live model.
        path: the .onnx file to write, weights inside.
        opset: version of the ONNX operators.

    Returns:
        how many nodes of each operator the graph has.
    """
    module = form_of(model)
    example = _example(model)
    dynamic = {
        0: torch.export.Dim("batch", min=1, max=4096),
        1: torch.export.Dim("sequence", min=1, max=model.text.max_length),
    }
    inputs, outputs = tensors_of(model)
    names = [info.name for info in inputs]
    with _silence(), torch.no_grad():
        program = torch.onnx.export(
            module,
            kwargs=example,
            dynamo=True,
            opset_version=opset,
            input_names=names,
            output_names=[info.name for info in outputs],
            dynamic_shapes=dict.fromkeys(names, dynamic),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    graph = program.model
    common.ClearMetadataAndDocStringPass()(graph)
    # A shared layer's weights are transposed into constants once a use; they are one again here.
    common.DeduplicateInitializersPass(size_limit=sys.maxsize)(graph)
    graph.producer_name, graph.producer_version = "bmc", ""
    onnx_ir.save(graph, path)
    counts: dict[str, int] = {}
    for node in graph.graph:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


def form_of(model: Model) -> nn.Module:
    """Return what is exported: the family's inference form, or the model itself."""
    family = plugins.load("bmc.models", model.family, "model family")
    if hasattr(family, "inference_form"):
        return family.inference_form(model.module, model.text.columns).eval()  # type: ignore[no-any-return]
    return model.module.eval()


def _example(model: Model) -> dict[str, torch.Tensor]:
    family = plugins.load("bmc.models", model.family, "model family")
    example: dict[str, torch.Tensor] = family.examples(model.module)[0]
    if model.text.columns == 2:
        example = {**example, "token_type_ids": torch.zeros_like(example["input_ids"])}
    return example


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's progress and its notes about absent torchvision off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
