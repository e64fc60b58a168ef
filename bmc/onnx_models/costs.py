"""Costs of the operators of an ONNX file: parameters, bytes, multiply-accumulates, time."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir

from bmc.errors import ArtifactError, BmcError
from bmc.onnx_models.generated import generate
from bmc.onnx_models.reading import OnnxFile, constant_of, is_weight, name_of_node
from bmc.onnx_models.running import Reference
from bmc.writing import scratch

_RUNS = 3
_KERNEL = "_kernel_time"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class OnnxLayer:
    """An operator with weights, or one that multiplies matrices.

    Args:
        name: name of the node.
        operator: operator of the node.
        parameters: number of its weights; 0 where they are those of `shared_with`.
        bytes: bytes of its weights, likewise.
        macs: multiply-accumulates of one call; None where shapes are not known.
        milliseconds: time of one call in ONNX Runtime without fusion; None where it was not run.
        shared_with: the earlier layer with the same weights; "" for none.
        is_quantized: whether its weights or inputs are quantized.
    """

    name: str
    operator: str
    parameters: int
    bytes: int
    macs: int | None
    milliseconds: float | None
    shared_with: str
    is_quantized: bool


@dataclass(frozen=True)
class OnnxCosts:
    """Costs of one call.

    Args:
        layers: operators with weights, and those that multiply matrices, in order.
        milliseconds: time of a call without fusion; None where the file could not be run.
        macs: multiply-accumulates of a call, as far as they are known; None if the file was not
            run.
        inputs: shapes of the inputs of that call, by name.
        note: why the file could not be run; "" if it was.
    """

    layers: tuple[OnnxLayer, ...]
    milliseconds: float | None
    macs: int | None
    inputs: Mapping[str, Shape]
    note: str


@dataclass(frozen=True)
class _Timed:
    """What ONNX Runtime's profile says of a node: its time, and the shapes of its activations."""

    milliseconds: float
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]


def costs_of(file: OnnxFile) -> OnnxCosts:
    """Run a file once on generated inputs, and return the costs of its layers."""
    timed: dict[str, _Timed] = {}
    shapes: dict[str, Shape] = {}
    total, note = None, ""
    try:
        call = generate(file, 1).calls[0]
        timed, total = _profile(file, call)
        shapes = {name: array.shape for name, array in call.items()}
    except BmcError as error:
        note = str(error)
    layers: list[OnnxLayer] = []
    owners: dict[int, str] = {}
    for index, node in enumerate(file.graph):
        name = name_of_node(node, index)
        weights = _weights_of(node)
        if weights or node.op_type in ("MatMul", "Einsum"):
            layers.append(_layer(node, name, weights, timed.get(str(node.name)), owners))
    known = [layer.macs for layer in layers if layer.macs is not None]
    return OnnxCosts(tuple(layers), total, sum(known) if timed else None, shapes, note)


def _layer(
    node: onnx_ir.Node,
    name: str,
    weights: Sequence[onnx_ir.TensorProtocol],
    timed: _Timed | None,
    owners: dict[int, str],
) -> OnnxLayer:
    shared = next((owners[id(tensor)] for tensor in weights if id(tensor) in owners), "")
    fresh = [tensor for tensor in weights if id(tensor) not in owners]
    owners |= {id(tensor): name for tensor in fresh}
    is_quantized = (
        any(
            value is not None
            and (producer := value.producer()) is not None
            and producer.op_type == "DequantizeLinear"
            for value in node.inputs
        )
        or node.op_type.startswith(("Q", "DynamicQuantize"))
        or "Integer" in node.op_type
    )
    return OnnxLayer(
        name=name,
        operator=node.op_type,
        parameters=sum(math.prod(_sizes(tensor)) for tensor in fresh),
        bytes=sum(tensor.nbytes for tensor in fresh),
        macs=_macs(node, timed) if timed else None,
        milliseconds=timed.milliseconds if timed else None,
        shared_with=shared,
        is_quantized=is_quantized,
    )


def _weights_of(node: onnx_ir.Node) -> list[onnx_ir.TensorProtocol]:
    """Return the constants that a node reads, also behind a DequantizeLinear."""
    if node.op_type in ("DequantizeLinear", "QuantizeLinear", "Constant"):
        return []
    constants = []
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None and producer.op_type == "DequantizeLinear":
            value = producer.inputs[0]
        tensor = constant_of(value)
        if tensor is not None and is_weight(tensor):
            constants.append(tensor)
    return constants


_MATRIX_PRODUCTS = (
    *("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"),
    *("FusedGemm", "FusedMatMul", "QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    *("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"),
)
"""Operators whose outputs are sums over the last axis of their first input."""


def _macs(node: onnx_ir.Node, timed: _Timed) -> int | None:
    """Return the multiply-accumulates of a node; 0 for one that multiplies no matrices."""
    output = math.prod(timed.outputs[0]) if timed.outputs else 0
    weight = next((_sizes(t) for v in node.inputs[1:2] if (t := _constant_behind(v))), None)
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv", "FusedConv"):
        kernel = weight or next((_sizes(t) for t in _weights_of(node) if len(t.shape) > 2), None)
        return output * math.prod(kernel[1:]) if kernel else None
    if node.op_type == "ConvTranspose" and weight and timed.inputs:
        return math.prod(timed.inputs[0]) * math.prod(weight[1:])
    if node.op_type in _MATRIX_PRODUCTS:
        inner = timed.inputs[0][-1] if timed.inputs and timed.inputs[0] else None
        is_transposed: int = node.attributes.get_int("transA", 0)
        if is_transposed and timed.inputs and len(timed.inputs[0]) > 1:
            inner = timed.inputs[0][-2]
        return output * inner if inner else None
    if node.op_type in ("LSTM", "GRU", "RNN") and timed.inputs:
        return _recurrent_macs(node, timed.inputs[0])
    if node.op_type in ("Einsum", "Attention", "QAttention", "MultiHeadAttention"):
        return None
    is_known = node.domain in ("", "ai.onnx")  # of others with a matrix nothing is known
    return 0 if is_known or all(len(t.shape) < 2 for t in _weights_of(node)) else None


def _recurrent_macs(node: onnx_ir.Node, values: Shape) -> int | None:
    weights = [_constant_behind(value) for value in node.inputs[1:3]]
    if len(values) != 3 or any(weight is None for weight in weights):
        return None
    each = sum(math.prod(_sizes(weight)) for weight in weights if weight is not None)
    return values[0] * values[1] * each


def _constant_behind(value: onnx_ir.Value | None) -> onnx_ir.TensorProtocol | None:
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "DequantizeLinear":
        return constant_of(producer.inputs[0])
    return constant_of(value)


def _sizes(tensor: onnx_ir.TensorProtocol) -> Shape:
    return tuple(size for size in tensor.shape if isinstance(size, int))


def _profile(file: OnnxFile, call: Mapping[str, Any]) -> tuple[dict[str, _Timed], float]:
    """Return what each named node took in the fastest of several calls, and what a call took."""
    with scratch() as folder:
        path = file.path
        if file.had_functions:  # ONNX Runtime gives their nodes other names
            path = folder / "model.onnx"
            onnx_ir.save(file.model.clone(), path, external_data="weights")
        session = Reference(path, optimized=False, profile=str(folder / "profile"))
        for _ in range(_RUNS):
            session.run(call)
        try:
            events = json.loads(session.end_profiling().read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"ONNX Runtime wrote no timings of {file.path}: {error}") from error
    durations: dict[str, list[float]] = defaultdict(list)
    shapes: dict[str, Mapping[str, Any]] = {}
    calls = [event["dur"] / 1e3 for event in events if event.get("name") == "model_run"]
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(_KERNEL):
            name = str(event["name"]).removesuffix(_KERNEL)
            durations[name].append(event["dur"] / 1e3)
            shapes[name] = event["args"]
    timed = {
        name: _Timed(
            min(times),
            _shapes(shapes[name].get("input_type_shape")),
            _shapes(shapes[name].get("output_type_shape")),
        )
        for name, times in durations.items()
        if name
    }
    return timed, min(calls, default=0.0)


def _shapes(entries: Any) -> tuple[Shape, ...]:
    return tuple(tuple(sizes) for entry in entries or () for sizes in entry.values())
