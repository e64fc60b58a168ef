"""PyTorch to ONNX: export the inference form, with free batch and sequence axes."""

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

from bmc.contracts import families
from bmc.errors import ExportError
from bmc.export._refusals import Axes, Tensors, fixing_line, refused
from bmc.inference.form import inference_form, is_quantized
from bmc.inference.quantized_form import frozen
from bmc.inference.quantizers import PackedWeight
from bmc.inference.run import tensors_of
from bmc.inputs import TensorInfo
from bmc.model import Model

_LARGEST_BATCH = 4096
_SIZES = ("height", "width")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear")


def write_onnx(model: Model, path: Path, opset: int) -> str:
    """Write a model's inference form (or the model itself, where it has none) as ONNX.

    Node metadata is removed: it holds stack traces with file paths of this machine.

    Args:
        model: a live model.
        path: the .onnx file to write, weights inside.
        opset: version of the ONNX operators.

    Returns:
        "" for a graph that takes any number of rows. A network may make a constant of that number;
        the graph then takes one row, and the line of the network that does so is returned.

    Raises:
        ExportError: the exporter does not take the network.
    """
    module = inference_form(model)
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
        _store_4_bits(graph, module)
    _free_sizes(graph, inputs)
    common.ClearMetadataAndDocStringPass()(graph)
    # The exporter transposes a shared layer's weights into one constant for each use.
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
        # As the exporter does by default, except for what is folded.
        onnxscript.optimizer.optimize_ir(graph, should_fold=_may_fold)
        onnx_fusions.fuse(graph)
    return graph


def _dynamic(model: Model) -> Axes:
    """Return the axes of each input that have a free size."""
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
    """Tell whether a graph takes a single number of rows."""
    return any(
        value.shape is not None and isinstance(value.shape[0], int) for value in graph.graph.inputs
    )


def _may_fold(node: onnx_ir.Node) -> bool | None:
    """Tell whether a node may be folded; None leaves it to the optimizer.

    Quantized weights, codebooks and slices of a matrix are not folded: a weight would be stored
    unpacked, or twice. Run times fold them as they load the file.
    """
    if node.op_type in _QUANTIZED:
        return False
    first = node.inputs[0] if node.inputs else None
    if first is None or not first.is_initializer():
        return None
    reads_codebook = node.op_type in ("Cast", "Gather") and first.dtype == onnx_ir.DataType.UINT8
    slices_weight = node.op_type == "Slice" and first.dtype == onnx_ir.DataType.FLOAT
    return False if reads_codebook or slices_weight else None


def _store_4_bits(graph: onnx_ir.Model, module: nn.Module) -> None:
    """Store weights of 4 bits in 4 bits: PyTorch has no tensors of them."""
    for path, part in module.named_modules(remove_duplicate=False):  # the exporter chooses a name
        value = graph.graph.initializers.get(f"{path}.integers")
        if isinstance(part, PackedWeight) and part.bits == 4 and value is not None:
            integers = part.integers.numpy().astype(ml_dtypes.int4)
            value.const_value = onnx_ir.tensor(integers, name=value.name)
            value.dtype = value.const_value.dtype


def _free_sizes(graph: onnx_ir.Model, inputs: tuple[TensorInfo, ...]) -> None:
    """Let a graph that was traced at one image size take any size.

    A network that averages over the image has no size in its operators. It is not traced with free
    sizes, since torch.export refuses them wherever a map may shrink to one pixel. The export is
    compared with PyTorch at other sizes later.
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
    """Return an input to trace with; a sentence pair gets token types of zeros."""
    if is_quantized(model.module):  # the family only knows its own modules, not their forms
        probes = model.encoder.probes(4)
        return tensors_of(next(a for a in probes if len(next(iter(a.values()))) > 1))
    family = families.network(model.family)
    example: dict[str, torch.Tensor] = family.examples(model.module)[0]
    names = [info.name for info in model.encoder.tensors()]
    first = next(iter(example.values()))
    return {name: example.get(name, torch.zeros_like(first)) for name in names}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hide the exporter's progress, and its notes about a missing torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
