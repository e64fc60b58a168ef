"""Apply techniques that change weights to the graph of an ONNX file of another tool."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import numpy as np
import onnx_ir
import torch

from bmc import console
from bmc.compress.prune import nm, unstructured
from bmc.compress.prune.nm import NM
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.share.cluster import MIN_ZEROS, Cluster, clusters_of, saves_bytes
from bmc.errors import UsageError, unknown
from bmc.inference.codebook import Codebook
from bmc.onnx_models.weights import (
    EMBEDDING,
    RECURRENT,
    LayerWeight,
    add_constant,
    layer_weights,
    replace_weight,
)
from bmc.structure import zeros

Record = dict[str, Any]
_LINEAR = ("Conv", "Gemm", "MatMul")
_SLICE_WITH_INPUTS = 10  # the first opset whose Slice takes its limits as inputs


def zero_unstructured(model: onnx_ir.Model, step: Unstructured) -> Record:
    """Set the weights of the smallest magnitude to zero, in place; return the shares of zeros.

    Raises:
        UsageError: the setting `epochs` is set, or there is nothing to prune.
        UnknownError: a pattern matches no layer.
        SettingError: a layer would have no weight left.
    """
    if step.epochs:
        raise UsageError("epochs is set, and an ONNX file is not trained: leave it out")
    weights = _chosen(model, step.layers)
    tensors = {weight.name: torch.from_numpy(weight.array()) for weight in weights}
    masks = unstructured.smallest(tensors, step.ratio, step.scope)
    zeros.refuse_empty(tensors, masks)
    return _write_zeros(weights, tensors, masks)


def zero_nm(model: onnx_ir.Model, step: NM) -> Record:
    """Keep N of M consecutive weights along the inputs, in place; return the shares of zeros.

    Raises:
        SettingError: no layer has a number of inputs that is divisible by M.
        UsageError: there is nothing to prune.
        UnknownError: a pattern matches no layer.
    """
    kept, size = nm.PATTERNS[step.pattern]
    weights = [w for w in _chosen(model, step.layers, _LINEAR) if w.inputs_axis is not None]
    if not weights:
        raise UsageError("the file has no linear layer or convolution to prune")
    tensors = {weight.name: torch.from_numpy(weight.array()) for weight in weights}
    axes = {weight.name: weight.inputs_axis or 0 for weight in weights}
    counts = {name: tensor.shape[axes[name]] for name, tensor in tensors.items()}
    indivisible = {name: count for name, count in counts.items() if count % size}
    named = {weight.name for weight in weights if set(weight.layers) & set(step.layers)}
    nm.check_divisible(indivisible, step.pattern, named, len(weights))
    masks = {
        name: nm.smallest(tensor.movedim(axes[name], 1), kept, size).movedim(1, axes[name])
        for name, tensor in tensors.items()
        if name not in indivisible
    }
    return _write_zeros([w for w in weights if w.name in masks], tensors, masks)


def cluster(model: onnx_ir.Model, step: Cluster) -> Record:
    """Store weights as indices into codebooks, in place; return the sizes of the codebooks.

    A layer whose codebook would take more bytes than its weights keeps them.

    Raises:
        UsageError: there is nothing to cluster.
        UnknownError: a pattern matches no layer.
    """
    operators = (*_LINEAR, "ConvTranspose", EMBEDDING)
    record: Record = {}
    for weight in _chosen(model, step.layers, operators, outputs=True):
        values = weight.array()
        is_by_output = weight.inputs_axis == 1 and EMBEDDING not in weight.operators
        groups = math.gcd(step.groups, len(values)) if is_by_output else 1
        if not saves_bytes(torch.from_numpy(values), step.values, groups):
            continue
        zero = bool((values == 0).mean() >= MIN_ZEROS)
        sizes = {"values": step.values, "groups": groups, "zero": zero}
        codebook = Codebook(values.shape, step.values, groups)
        centers, indices = clusters_of(values, sizes, step.start)
        codebook.fill(torch.from_numpy(centers).float(), torch.from_numpy(indices))
        replace_weight(weight, _lookup(model, weight.name, codebook))
        record[weight.name] = sizes
    if not record:
        raise UsageError(
            "no weight would take fewer bytes with a codebook of "
            f"{step.values} values: take fewer with --set values=16"
        )
    return record


def _chosen(
    model: onnx_ir.Model,
    patterns: Sequence[str],
    operators: Collection[str] | None = None,
    outputs: bool = False,
) -> list[LayerWeight]:
    """Return the weights of layers that patterns name; without a pattern, as techniques choose.

    Args:
        model: the graph.
        patterns: names (fnmatch patterns) of layers.
        operators: operators whose weights the technique changes; None for all but embeddings.
        outputs: whether layers that compute logits are chosen without a pattern.

    Raises:
        UnknownError: a pattern matches no layer.
        UsageError: there is no such weight.
    """
    named = (*_LINEAR, "ConvTranspose", *RECURRENT, EMBEDDING)
    weights = [
        weight
        for weight in layer_weights(model)
        if set(weight.operators) <= set(named if operators is None else operators)
    ]
    names = [name for weight in weights for name in weight.layers]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise unknown("layer with weights", pattern, names)
    if patterns:
        return [
            weight
            for weight in weights
            if any(fnmatch(name, pattern) for name in weight.layers for pattern in patterns)
        ]
    chosen = [
        weight
        for weight in weights
        if (outputs or not weight.is_output)
        and (operators is not None or EMBEDDING not in weight.operators)
    ]
    if not chosen:
        raise UsageError(
            "the file has no layer with constant float weights that this method changes, apart "
            "from embeddings and outputs; --set layers=NAME names those"
        )
    return chosen


def _write_zeros(
    weights: Sequence[LayerWeight],
    tensors: Mapping[str, torch.Tensor],
    masks: Mapping[str, torch.Tensor],
) -> Record:
    shares = {}
    for weight in weights:
        values = tensors[weight.name].masked_fill(masks[weight.name], 0.0).numpy()
        weight.write(values)
        shares[weight.name] = float((values == 0).mean())
    console.note(f"zeros in {len(shares)} weights; an ONNX file stores them like other numbers")
    return {"parameters": shares}


def _lookup(model: onnx_ir.Model, name: str, codebook: Codebook) -> list[onnx_ir.Node]:
    """Return the nodes that look a weight up; the last one computes it in its shape."""
    indices = add_constant(model, f"{name}_indices", codebook.indices.numpy())
    table = add_constant(model, f"{name}_codebook", codebook.table().numpy())
    cast = onnx_ir.Node("", "Cast", [indices], [onnx_ir.AttrInt64("to", onnx_ir.DataType.INT32)])
    nodes, codes = [cast], cast.outputs[0]
    if (offsets := codebook.offsets()) is not None:
        starts = add_constant(model, f"{name}_offsets", offsets.numpy())
        nodes.append(onnx_ir.Node("", "Add", [codes, starts]))
        codes = nodes[-1].outputs[0]
    nodes.append(onnx_ir.Node("", "Gather", [table, codes]))
    rows, width = codebook.indices.shape[0], codebook.indices.shape[1] * table_width(codebook)
    nodes.append(_reshape(model, f"{name}_flat", nodes[-1].outputs[0], (rows, width)))
    if width > codebook.columns:
        nodes.append(_first_columns(model, name, nodes[-1].outputs[0], codebook.columns))
    nodes.append(_reshape(model, f"{name}_shape", nodes[-1].outputs[0], codebook.shape))
    for index, node in enumerate(nodes):
        node.name = f"{name}_lookup_{index}"
        node.outputs[0].name = f"{name}_lookup_{index}_output"
    return nodes


def _first_columns(
    model: onnx_ir.Model, name: str, value: onnx_ir.Value, columns: int
) -> onnx_ir.Node:
    limits = {"starts": 0, "ends": columns, "axes": 1}
    if model.opset_imports[""] < _SLICE_WITH_INPUTS:
        attributes = [onnx_ir.AttrInt64s(part, [number]) for part, number in limits.items()]
        return onnx_ir.Node("", "Slice", [value], attributes)
    inputs = [
        add_constant(model, f"{name}_{part}", np.array([number], np.int64))
        for part, number in limits.items()
    ]
    return onnx_ir.Node("", "Slice", [value, *inputs])


def table_width(codebook: Codebook) -> int:
    """Return the number of weights that an index of a codebook stands for."""
    return 2 if codebook.paired else 1


def _reshape(
    model: onnx_ir.Model, name: str, value: onnx_ir.Value, shape: Sequence[int]
) -> onnx_ir.Node:
    sizes = add_constant(model, name, np.array(shape, np.int64))
    return onnx_ir.Node("", "Reshape", [value, sizes])
