"""Cut units out of a model, in place, and check that the dependency graph had all readers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bmc.errors import BmcError
from bmc.model import output_of
from bmc.structure.shapes import Shape, reshape, shape_of

if TYPE_CHECKING:
    from bmc.compress.prune._graph import Group

# Share of the largest output above which a difference is more than floating-point rounding.
_TOLERANCE = 1e-3


def cut(module: nn.Module, kept: Mapping[str, Tensor], groups: Sequence[Group]) -> None:
    """Remove units from a model, in place.

    Args:
        module: the model.
        kept: a mask of the units that stay, bool (units), by name of each group that loses any.
        groups: all groups of the model.
    """
    axes: dict[str, dict[str, Tensor]] = {}
    shapes: dict[str, Shape] = {}
    for group in (group for group in groups if group.name in kept):
        # Index -1, which stands for a unit of another group, stays.
        staying = torch.cat([kept[group.name], torch.tensor([True])])
        for member in group.members:
            for path in member.paths:
                masks, mask = axes.setdefault(path, {}), staying[member.units]
                masks[member.axis] = masks[member.axis] & mask if member.axis in masks else mask
        for path in group.attentions:
            shapes[path] = {"type": "attention", "heads": int(kept[group.name].sum())}
    values = {path: _cut_tensors(module.get_submodule(path), axes[path]) for path in axes}
    shapes |= {path: _cut_shape(module.get_submodule(path), axes[path]) for path in axes}
    reshape(module, shapes)
    with torch.no_grad():
        for path, tensors in values.items():
            layer = module.get_submodule(path)
            for name, value in tensors.items():
                getattr(layer, name).copy_(value)


def cut_mismatch(
    module: nn.Module,
    kept: Mapping[str, Tensor],
    groups: Sequence[Group],
    example: Mapping[str, Tensor],
) -> str:
    """Check that removing units and setting the weights that read them to 0 give equal outputs.

    The result of a layer norm depends on the number of units, so where units of the width are
    removed only the shapes of the outputs are compared.

    Args:
        module: the model; it is not changed.
        kept: a mask of the units that stay, bool (units), by name of each group that loses any.
        groups: all groups of the model.
        example: inputs of the model.

    Returns:
        How the outputs differ; "" if they do not.
    """
    masked, smaller = copy.deepcopy(module).eval(), copy.deepcopy(module).eval()
    try:
        cut(smaller, kept, groups)
        with torch.no_grad():
            for group in (group for group in groups if group.name in kept):
                _zero_readers(masked, group, kept[group.name])
            expected, outputs = output_of(masked, example), output_of(smaller, example)
            if getattr(smaller, "is_user_network", False):
                output_of(smaller.train(), example)  # its training code may differ
    except (BmcError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    if outputs.shape != expected.shape:
        return f"outputs of shape {tuple(outputs.shape)} instead of {tuple(expected.shape)}"
    widths = {group.name for group in groups if group.kind == "width"}
    others = {name: mask for name, mask in kept.items() if name not in widths}
    if len(others) < len(kept):
        return cut_mismatch(module, others, groups, example) if others else ""
    finite = expected.isfinite()
    if not finite.any():
        return "its outputs are NaN or infinite, so that nothing can be compared"
    difference = (outputs - expected)[finite].abs().max()
    is_equal = bool(difference <= _TOLERANCE * expected[finite].abs().max())
    if is_equal and torch.equal(outputs.isfinite(), finite):
        return ""
    return "a layer outside of the group reads its units"


def weights_of(layer: nn.Module, axis: str, value_of: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Return the weights at each index of a layer's axis, (indices, weights); None if none.

    Args:
        layer: a layer.
        axis: "out"; "in"; or "state": the hidden state that a recurrent layer reads.
        value_of: function from a parameter to the values to return, such as its gradient.
    """
    if isinstance(layer, nn.RNNBase):
        input_weight = value_of(layer.weight_ih_l0)  # type: ignore[arg-type]
        state_weight = value_of(layer.weight_hh_l0)  # type: ignore[arg-type]
        if axis == "in":
            return input_weight.T
        if axis == "state":
            return state_weight.T
        both = torch.cat([input_weight, state_weight], dim=1)
        gates = both.view(-1, layer.hidden_size, both.shape[1])
        return gates.transpose(0, 1).flatten(1)
    if axis == "state":
        return None
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return value_of(layer.weight)[:, None] if layer.affine else None
    if isinstance(layer, nn.Linear | nn.Conv2d):
        weight = value_of(layer.weight)
        return (weight if axis == "out" else weight.transpose(0, 1)).flatten(1)
    return None


def _cut_shape(layer: nn.Module, axes: Mapping[str, Tensor]) -> Shape:
    """Return a layer's size without the indices that are cut."""
    shape = dict(shape_of(layer) or {})
    if "out" in axes:
        name = next(key for key in ("out", "hidden", "features", "width") if key in shape)
        shape[name] = int(axes["out"].sum())
    if "in" in axes:
        shape["in"] = int(axes["in"].sum())
    if shape.get("groups", 1) > 1:
        shape["in"] = shape["groups"] = shape["out"]
    return shape


def _cut_tensors(layer: nn.Module, axes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a layer's parameters and buffers without the indices that are cut."""
    rows, columns = (axes.get(axis, slice(None)) for axis in ("out", "in"))
    tensors = {}
    for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers()]:
        value: Any = tensor.detach()
        if isinstance(layer, nn.RNNBase):
            value = value.unflatten(0, (-1, layer.hidden_size))[:, rows].flatten(0, 1)
            if value.dim() > 1:
                value = value[:, rows if "_hh_" in name else columns]
        elif isinstance(layer, nn.Embedding):
            value = value[:, rows]
        elif value.dim():
            value = value[rows]
            if value.dim() > 1 and getattr(layer, "groups", 1) == 1:
                value = value[:, columns]
        tensors[name] = value.clone()
    return tensors


def _zero_readers(module: nn.Module, group: Group, kept: Tensor) -> None:
    """Set the weights that read the units to remove to zero, in place."""
    removed = torch.cat([~kept, torch.tensor([False])])
    for member in group.members:
        for layer in map(module.get_submodule, member.paths):
            columns = removed[member.units]
            if isinstance(layer, nn.RNNBase):
                name = "weight_ih_l0" if member.axis == "in" else "weight_hh_l0"
                layer.get_parameter(name)[:, columns] = 0.0
            elif member.axis == "in":
                layer.get_parameter("weight")[:, columns] = 0.0
