"""Export the inference form of a PyTorch model to ONNX, with dynamic batch and sequence axes.

The inference form is the module that is exported in place of the trained one: it computes the same
outputs with fewer operators (`bmc.inference`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import onnx_ir
import onnxscript.optimizer
import torch
from onnx_ir.passes import common
from onnxscript.rewriter import onnx_fusions
from torch import nn
from torch.fx import config as fx_config

from bmc.contracts import families
from bmc.errors import ExportError
from bmc.export._refusals import Axes, Tensors, export_error, line_that_fixes_a_size
from bmc.inference.form import inference_form, is_quantized
from bmc.inference.quantized_form import frozen
from bmc.inference.quantizers import PackedWeight
from bmc.inference.run import tensors_of
from bmc.inputs import TensorInfo
from bmc.model import Model

_MAX_BATCH = 4096
_IMAGE_AXES = ("height", "width")
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def write_onnx(model: Model, path: Path, opset: int) -> str:
    """Write a model's inference form (or the model itself, where there is none) as ONNX.

    Node metadata is removed: it contains stack traces with file paths of this machine.

    Args:
        model: model to export.
        path: .onnx file to write, with the weights inside.
        opset: version of the ONNX operators.

    Returns:
        "" for a graph with a free batch size. Where the network turns the batch size into a
        constant, the graph has batch size 1, and the line of the network that does so is returned.

    Raises:
        ExportError: torch.onnx cannot export the network.
    """
    module = inference_form(model)
    if is_quantized(module):
        module = frozen(module)
    inputs = model.encoder.tensors()
    example = _example(model)
    axes = _dynamic(model)
    graph, line = _exported(module, model, example, axes, opset), ""
    if _is_fixed(graph):
        line = line_that_fixes_a_size(module, example, axes) or "a line of the network"
        example = {name: value[:1] for name, value in example.items()}
        axes = {
            name: {index: axis for index, axis in free.items() if index != 0}
            for name, free in axes.items()
        }
        graph = _exported(module, model, example, axes, opset)
    if is_quantized(module):
        _store_4_bits(graph, module)
    _free_sizes(graph, inputs)
    common.ClearMetadataAndDocStringPass()(graph)
    # torch.onnx transposes a shared layer's weights into one constant for each use.
    common.DeduplicateInitializersPass(size_limit=sys.maxsize)(graph)
    graph.producer_name, graph.producer_version = "bmc", ""
    onnx_ir.save(graph, path)
    return line


def _exported(
    module: nn.Module, model: Model, example: Tensors, dynamic: Axes, opset: int
) -> onnx_ir.Model:
    """Return torch.onnx's graph of a module, simplified.

    Raises:
        ExportError: torch.onnx cannot export the network.
    """
    with _silence(), _without_stack_traces(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                kwargs=example,
                dynamo=True,
                opset_version=opset,
                input_names=[info.name for info in model.encoder.tensors()],
                output_names=[info.name for info in model.outputs()],
                dynamic_shapes=dynamic,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # torch.onnx raises errors of many libraries
            raise export_error(error) from error
        if program is None:
            raise ExportError("torch.onnx cannot export the network, and does not say why")
        graph = program.model
        # The same optimizations as torch.onnx applies by default, except for `_may_fold`.
        onnxscript.optimizer.optimize_ir(graph, should_fold=_may_fold)
        onnx_fusions.fuse(graph)
    return graph


def _dynamic(model: Model) -> Axes:
    """Return the axes of each input whose size is free."""
    max_sizes = {"batch": _MAX_BATCH, **model.encoder.longest()}
    axes = {
        name: torch.export.Dim(name, min=1, max=max_size)
        for name, max_size in max_sizes.items()
        if name not in _IMAGE_AXES
    }
    return {
        info.name: {index: axes[str(size)] for index, size in enumerate(info.shape) if size in axes}
        for info in model.encoder.tensors()
    }


def _is_fixed(graph: onnx_ir.Model) -> bool:
    """Tell whether a graph has a fixed batch size."""
    return any(
        value.shape is not None and isinstance(value.shape[0], int) for value in graph.graph.inputs
    )


def _may_fold(node: onnx_ir.Node) -> bool | None:
    """Tell whether a node may be folded; None leaves the decision to the optimizer.

    Quantized weights, codebooks and slices of a matrix are not folded: their weights would be
    stored unpacked, or twice. The runtimes fold them when they load the file.
    """
    if node.op_type in _QUANTIZERS:
        return False
    first = node.inputs[0] if node.inputs else None
    if first is None or not first.is_initializer():
        return None
    reads_codebook = node.op_type in ("Cast", "Gather") and first.dtype == onnx_ir.DataType.UINT8
    slices_weight = node.op_type == "Slice" and first.dtype == onnx_ir.DataType.FLOAT
    return False if reads_codebook or slices_weight else None


def _store_4_bits(graph: onnx_ir.Model, module: nn.Module) -> None:
    """Convert 4-bit weights from int8 to ONNX's int4: PyTorch has no int4 tensors."""
    # A shared layer has several paths, and torch.onnx chooses which of them names its weight.
    for path, part in module.named_modules(remove_duplicate=False):
        value = graph.graph.initializers.get(f"{path}.integers")
        if isinstance(part, PackedWeight) and part.bits == 4 and value is not None:
            integers = part.integers.numpy().astype(ml_dtypes.int4)
            value.const_value = onnx_ir.tensor(integers, name=value.name)
            value.dtype = value.const_value.dtype


def _free_sizes(graph: onnx_ir.Model, inputs: tuple[TensorInfo, ...]) -> None:
    """Free the image size of a graph that was traced at one image size.

    No operator of a network with global average pooling depends on the image size. Such a network
    is not traced with free sizes, since torch.export refuses free sizes wherever a feature map may
    shrink to one pixel. `bmc.export.flow.verify` compares the export with PyTorch at other sizes.
    """
    shapes = {info.name: info.shape for info in inputs if set(_IMAGE_AXES) & set(info.shape)}
    if not shapes:
        return
    for node in graph.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    for value in graph.graph.inputs:
        if value.name in shapes:
            value.shape = onnx_ir.Shape(shapes[value.name])


def _example(model: Model) -> dict[str, torch.Tensor]:
    """Return inputs to trace with, by name; inputs that the family leaves out are zeros."""
    if is_quantized(model.module):  # the family's examples are for its own, unquantized network
        probes = model.encoder.probes(4)
        return tensors_of(next(arrays for arrays in probes if len(next(iter(arrays.values()))) > 1))
    family = families.network(model.family)
    example: dict[str, torch.Tensor] = family.examples(model.module)[0]
    names = [info.name for info in model.encoder.tensors()]
    zeros = torch.zeros_like(next(iter(example.values())))
    return {name: example.get(name, zeros) for name in names}


@contextlib.contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Let torch store no stack trace for each node, which takes time: node metadata is removed."""
    before = getattr(fx_config, "do_not_emit_stack_traces", False)  # newer than torch 2.7
    fx_config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        fx_config.do_not_emit_stack_traces = before


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hide torch.onnx's progress, and its notes about a missing torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
