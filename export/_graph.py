"""Torch to ONNX: the inference form, with dynamic batch and sequence, and a clean graph."""

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

from bmc.compress.quantize._form import form_of, frozen, is_quantized
from bmc.compress.quantize._points import Whole
from bmc.contracts import families
from bmc.errors import ExportError
from bmc.export._refusals import Axes, Tensors, fixing_line, refused
from bmc.inputs import TensorInfo
from bmc.model import Model

_LARGEST_BATCH = 4096
_SIZES = ("height", "width")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear")


def write_onnx(model: Model, path: Path, opset: int) -> str:
    """Write a model's inference form (or the model itself, where it has none) as ONNX.

    The graph keeps no traces of the machine that made it: node metadata holds stack traces with
    file paths, and a deployed file should not.

    Args:
        model: a live model.
        path: the .onnx file to write, weights inside.
        opset: version of the ONNX operators.

    Returns:
        "" for a graph that takes any number of rows. A network may make a constant of that number:
        then the graph takes one row, and this is the line of the network that did.

    Raises:
        ExportError: the exporter does not take the network.
    """
    module = form_of(model)
    if is_quantized(module):
        module = frozen(module)
    inputs = model.encoder.tensors()
    example = _example(model)
    axes = _dynamic(model)
    graph, line = _exported(module, model, example, axes, opset), ""
    if _is_fixed(graph):
        line = fixing_line(module, example, axes) or "a line of the network"
        example = {name: value[:1] for name, value in example.items()}
        axes = {
            name: {place: axis for place, axis in own.items() if place}
            for name, own in axes.items()
        }
        graph = _exported(module, model, example, axes, opset)
    if is_quantized(module):
        _pack(graph, module)
    _free_sizes(graph, inputs)
    common.ClearMetadataAndDocStringPass()(graph)
    # A shared layer's weights are transposed into constants once a use; they are one again here.
    common.DeduplicateInitializersPass(size_limit=sys.maxsize)(graph)
    graph.producer_name, graph.producer_version = "bmc", ""
    onnx_ir.save(graph, path)
    return line


def _exported(
    module: nn.Module, model: Model, example: Tensors, dynamic: Axes, opset: int
) -> onnx_ir.Model:
    """Return torch.onnx's graph of a module, simplified.

    Raises:
        ExportError: the exporter does not take the network.
    """
    with _silence(), torch.no_grad():
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
        except Exception as error:  # the exporter raises whatever its parts do
            raise refused(error) from error
        if program is None:
            raise ExportError("torch.onnx cannot export the network, and does not say why")
        graph = program.model
        # What the exporter would do by itself, but for what it may fold.
        onnxscript.optimizer.optimize_ir(graph, should_fold=_may_fold)
        onnx_fusions.fuse(graph)
    return graph


def _dynamic(model: Model) -> Axes:
    """Return the axes of each input whose size is free."""
    most = {"batch": _LARGEST_BATCH, **model.encoder.longest()}
    axes = {
        name: torch.export.Dim(name, min=1, max=limit)
        for name, limit in most.items()
        if name not in _SIZES
    }
    return {
        info.name: {place: axes[str(size)] for place, size in enumerate(info.shape) if size in axes}
        for info in model.encoder.tensors()
    }


def _is_fixed(graph: onnx_ir.Model) -> bool:
    """Tell whether a graph takes one number of rows alone."""
    return any(
        value.shape is not None and isinstance(value.shape[0], int) for value in graph.graph.inputs
    )


def _may_fold(node: onnx_ir.Node) -> bool | None:
    """Refuse to fold what would store a weight unfolded, or twice.

    That is: quantized weights, codebooks, parts of a matrix.

    Run times fold both as they load the file. None leaves it to the optimizer's own rules.
    """
    if node.op_type in _QUANTIZED:
        return False
    first = node.inputs[0] if node.inputs else None
    if first is None or not first.is_initializer():
        return None
    unfolds = node.op_type in ("Cast", "Gather") and first.dtype == onnx_ir.DataType.UINT8
    cuts = node.op_type == "Slice" and first.dtype == onnx_ir.DataType.FLOAT
    return False if unfolds or cuts else None


def _pack(graph: onnx_ir.Model, module: nn.Module) -> None:
    """Store weights of 4 bits as such: PyTorch has no tensors of them."""
    for path, part in module.named_modules(remove_duplicate=False):  # the exporter chooses a name
        value = graph.graph.initializers.get(f"{path}.numbers")
        if isinstance(part, Whole) and part.bits == 4 and value is not None:
            numbers = part.numbers.numpy().astype(ml_dtypes.int4)  # type: ignore[operator]
            value.const_value = onnx_ir.tensor(numbers, name=value.name)
            value.dtype = value.const_value.dtype


def _free_sizes(graph: onnx_ir.Model, inputs: tuple[TensorInfo, ...]) -> None:
    """Let a graph that was traced at one image size take any.

    A network that averages over the image has no size in its operators. Traced with free sizes, it
    would be refused wherever a map may shrink to one pixel, which torch.export takes for a special
    case. That other sizes are answered alike is proven by the probes.
    """
    sized = {info.name: info.shape for info in inputs if set(_SIZES) & set(info.shape)}
    if not sized:
        return
    for node in graph.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    for value in graph.graph.inputs:
        if value.name in sized:
            value.shape = onnx_ir.Shape(sized[value.name])


def _example(model: Model) -> dict[str, torch.Tensor]:
    """Return an input to trace with; a sentence pair's token types are made up."""
    if is_quantized(model.module):  # it is a form, where a family knows its own modules alone
        arrays = next(one for one in model.encoder.probes(4) if len(next(iter(one.values()))) > 1)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    family = families.network(model.family)
    example: dict[str, torch.Tensor] = family.examples(model.module)[0]
    names = [info.name for info in model.encoder.tensors()]
    first = next(iter(example.values()))
    return {name: example.get(name, torch.zeros_like(first)) for name in names}


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
