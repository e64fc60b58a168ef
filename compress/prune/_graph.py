"""Groups of units that must be pruned together, from torch-pruning's dependency graph.

A unit is a channel, a hidden unit, an attention head, or an index of the model's width. A layer
whose outputs include the unit computes it; a layer whose inputs include the unit reads it.
torch-pruning traces a copy of the model and is only asked which indices of which layers depend on
each other; bmc cuts the layers.

Source: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning".
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from bmc.compress.prune._walk import CoupledAxis, groups_in
from bmc.errors import BmcError, UsageError
from bmc.model import Parts, all_outputs_of
from bmc.structure.shapes import Shape, shape_of
from bmc.user_code import summary_of

_ABOVE_LIMIT = (
    "the dependency graph of its units exceeds bmc's limit, as where one feature map is read both "
    "flattened and averaged"
)


@dataclass(frozen=True)
class Member:
    """One axis of a layer that gets shorter when units are cut.

    Args:
        paths: paths of the layer and of every layer that shares its weights.
        axis: "out" for the outputs of the layer, "in" for its inputs.
        units: the unit at each index of the axis, int64; -1 for a unit of another group.
    """

    paths: tuple[str, ...]
    axis: str
    units: Tensor


@dataclass(frozen=True)
class Group:
    """Units that are pruned together.

    Args:
        name: path of the first layer that computes the units.
        kind: "channels", "hidden", "heads" or "width".
        units: number of units.
        layers: paths of all layers that compute the units.
        members: the axes of layers that compute or read the units.
        attentions: paths of the attention modules, if the units are heads.
        reason: why the units cannot be cut; "" where they can.
    """

    name: str
    kind: str
    units: int
    layers: tuple[str, ...]
    members: tuple[Member, ...] = ()
    attentions: tuple[str, ...] = ()
    reason: str = ""


def groups_of(module: nn.Module, example: Mapping[str, Tensor], parts: Parts) -> list[Group]:
    """Return a model's groups of units, except the units that are the model's outputs.

    Args:
        module: a live model, which is not changed.
        example: inputs to trace the model with.
        parts: paths of the model's attention modules and output layers.

    Raises:
        UsageError: the model cannot be traced.
    """
    copied = _traceable_copy(module)
    paths: dict[int, list[str]] = {}
    for path, layer in copied.named_modules(remove_duplicate=False):
        paths.setdefault(id(layer), []).append(path.removesuffix(f".{_StandIn.INNER}"))
    indivisible = _shared_across_kinds(module)
    groups = []
    for root, coupled in _coupled_axes(copied, example):
        if not coupled:
            layers = tuple(paths[id(root)])
            kind = "channels" if isinstance(root, nn.Conv2d) else "hidden"
            groups.append(Group(layers[0], kind, 1, layers, reason=_ABOVE_LIMIT))
            continue
        axes = [_Axis(tuple(paths.get(id(axis.layer), ())), axis) for axis in coupled]
        is_output = any(
            _is_within(path, output) for path in _computing(axes) for output in parts.outputs
        )
        if not is_output and any(axis.side == "in" for axis in axes):
            groups.append(_group(axes, module, parts, indivisible))
    return groups


class _StandIn(nn.Module):
    """A linear layer in the place of a recurrent one, which torch-pruning cannot trace.

    Its inputs and outputs have the shapes and the dependencies of the recurrent layer's.
    """

    INNER = "recurrent_stand_in"

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        directions = 2 if layer.bidirectional else 1
        self.size = layer.proj_size or layer.hidden_size
        self.add_module(self.INNER, nn.Linear(layer.input_size, directions * self.size))
        self.has_cell = layer.mode == "LSTM"
        self.time_axis = 1 if layer.batch_first else 0
        self.layers = layer.num_layers

    def forward(self, vectors: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        states = torch.tanh(self.get_submodule(self.INNER)(vectors))
        last = states.select(self.time_axis, -1)[None]
        if last.shape[-1] != self.size or self.layers > 1:
            last = torch.cat([*torch.split(last, self.size, dim=-1)] * self.layers)
        return states, (last, last) if self.has_cell else last


_OUTPUT = torch_pruning.ops._OutputOp
_OPERATORS = (  # nodes of torch-pruning's graph that are not layers
    torch_pruning.ops._ElementWiseOp,
    torch_pruning.ops._ReshapeOp,
    torch_pruning.ops._ConcatOp,
    torch_pruning.ops._SplitOp,
    torch_pruning.ops._UnbindOp,
    torch_pruning.ops._ExpandOp,
    torch_pruning.ops._SliceOp,
)


@dataclass(frozen=True)
class _Axis:
    """One axis of a layer in one of torch-pruning's groups, with the paths of the layer."""

    paths: tuple[str, ...]
    coupled: CoupledAxis

    @property
    def layer(self) -> Any:
        return self.coupled.layer

    @property
    def side(self) -> str:
        return self.coupled.axis


def _traceable_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a model that torch-pruning can trace.

    Layers of equal size that share a parameter are one layer in the copy, and recurrent layers are
    stand-ins.
    """
    copied: Any = copy.deepcopy(module).cpu().eval().requires_grad_(True)
    if hasattr(copied, "set_attn_implementation"):  # fused attention cannot be traced
        copied.set_attn_implementation("eager")
    layer_of: dict[tuple[int, str], nn.Module] = {}  # by a parameter's id and the layer's size
    stand_ins: dict[int, nn.Module] = {}
    for path, layer in list(copied.named_modules(remove_duplicate=False)):
        keys = [(id(value), str(shape_of(layer))) for value in layer.parameters(recurse=False)]
        replacement = next((layer_of[key] for key in keys if key in layer_of), layer)
        layer_of |= dict.fromkeys(keys, replacement)
        if isinstance(replacement, nn.RNNBase):
            replacement = stand_ins.setdefault(id(replacement), _StandIn(replacement))
        if replacement is not layer:
            copied.set_submodule(path, replacement)
    return copied  # type: ignore[no-any-return]


def _shared_across_kinds(module: nn.Module) -> dict[int, str]:
    """Return the ids of parameters that layers of different kinds or sizes share.

    The value is the path of one of these layers. Such a parameter cannot be cut: a row that is one
    unit of the first layer is not one unit of the second.
    """
    users: dict[int, list[tuple[str, Shape | None]]] = {}
    for path, layer in module.named_modules():
        for value in layer.parameters(recurse=False):
            users.setdefault(id(value), []).append((path, shape_of(layer)))
    return {
        value: layers[-1][0]
        for value, layers in users.items()
        if any(shape != layers[0][1] for _, shape in layers)
    }


def _coupled_axes(
    copied: nn.Module, example: Mapping[str, Tensor]
) -> Iterator[tuple[nn.Module, list[CoupledAxis]]]:
    """Trace a model, and yield each layer that computes units with all axes that depend on them.

    Groups that contain the model's output are left out. The list of axes is empty where the group
    exceeds a limit of the walk.
    """
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            graph = torch_pruning.DependencyGraph().build_dependency(
                copied,
                dict(example),
                forward_fn=_outputs_to_trace,
                verbose=False,
            )
        except Exception as error:  # tracing runs the user's network and torch-pruning's code
            reason = str(error) if isinstance(error, BmcError) else summary_of(error)
            raise UsageError(
                f"the dependency graph cannot follow this model ({reason}); "
                "try --method unstructured"
            ) from error
        for node in graph.module2node.values():
            if isinstance(node.module, torch_pruning.ops._ConcatOp):
                # torch-pruning skips a concatenation whose axis is not 1, but transformers have
                # their features last. Without grad_fn it decides by the sizes of the features.
                node.grad_fn = None
        seen_ids: set[int] = set()
        for root_classes in ((nn.Conv2d, nn.Linear), (nn.Embedding,)):
            for root, group in groups_in(graph, root_classes):
                layers = [axis.layer for axis in group]
                is_repeated = root_classes == (nn.Embedding,) and id(root) in seen_ids
                seen_ids |= {id(layer) for layer in layers}
                if not group:
                    yield root, []
                elif not is_repeated and not any(isinstance(layer, _OUTPUT) for layer in layers):
                    yield root, [axis for axis in group if not isinstance(axis.layer, _OPERATORS)]


def _outputs_to_trace(copied: nn.Module, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the outputs of a model to trace; of a user's network, its auxiliary outputs too.

    Some networks compute auxiliary outputs in training only. The heads that compute them read the
    same units, so they must be pruned with the other readers.
    """
    outputs = all_outputs_of(copied, inputs)[:1]
    if getattr(copied, "is_user_network", False):
        training_outputs = all_outputs_of(copied.train(), inputs)
        outputs = training_outputs if len(training_outputs) > 1 else outputs
    return outputs


def _group(
    axes: list[_Axis], module: nn.Module, parts: Parts, indivisible: Mapping[int, str]
) -> Group:
    """Return the group of units that a list of dependent axes stands for."""
    layers = tuple(_computing(axes))
    attentions = _attentions(axes, parts)
    kind = "heads" if attentions else _kind(axes)
    units = len(axes[0].coupled.indices)
    units = units // 2 if _is_gated(axes, units) else units
    try:
        width = _width_of_a_head(attentions, units, parts)
        members = [_member(axis, module, width, indivisible, units) for axis in axes]
    except ValueError as error:
        return Group(layers[0], kind, units, layers, reason=str(error))
    to_cut = tuple(member for member in members if member is not None)
    return Group(layers[0], kind, units // width, layers, to_cut, attentions)


def _computing(axes: list[_Axis]) -> list[str]:
    """Return the paths of the layers that compute the units of a group."""
    return [path for axis in axes if axis.side == "out" for path in axis.paths]


def _attentions(axes: list[_Axis], parts: Parts) -> tuple[str, ...]:
    """Return the attention modules whose heads a group's units are.

    In such a module at least two projections compute the units. Where a single one does, the units
    are the rank of a factorized projection, not heads.
    """
    attentions = []
    for attention in parts.heads:
        inside = [path for path in _computing(axes) if _is_within(path, attention)]
        if len({path[len(attention) + 1 :].split(".")[0] for path in inside}) > 1:
            attentions.append(attention)
    has_norm = any(isinstance(axis.layer, nn.LayerNorm) for axis in axes)
    return () if has_norm else tuple(attentions)


def _kind(axes: list[_Axis]) -> str:
    classes = (nn.LayerNorm, nn.Embedding, nn.Parameter)
    if any(isinstance(axis.layer, classes) for axis in axes):
        return "width"
    is_conv = any(isinstance(axis.layer, nn.Conv2d) and axis.side == "out" for axis in axes)
    return "channels" if is_conv else "hidden"


def _is_gated(axes: list[_Axis], units: int) -> bool:
    """Tell whether one half of a layer's outputs multiplies the other half before it is read.

    As in gated linear units, whose readers have half as many inputs. torch-pruning names the second
    half alone. Cutting is checked afterwards (`cut_mismatch`), so that a wrong guess is harmless.
    """
    readers = [axis.coupled for axis in axes if axis.side == "in"]
    second_half = set(range(units // 2, units))
    return units % 2 == 0 and all(
        len(reader.indices) == units // 2 and set(reader.units) == second_half for reader in readers
    )


def _width_of_a_head(attentions: tuple[str, ...], indices: int, parts: Parts) -> int:
    if not attentions:
        return 1
    heads = {parts.heads[attention] for attention in attentions}
    if len(heads) > 1 or indices % max(heads):
        raise ValueError(
            f"its {indices} outputs do not divide into equal heads "
            f"({', '.join(attentions)} have {', '.join(map(str, sorted(heads)))})"
        )
    return indices // heads.pop()


def _member(
    axis: _Axis, module: nn.Module, width: int, indivisible: Mapping[int, str], count: int
) -> Member | None:
    """Return a layer's axis as a member of a group; None where the layer has nothing to cut.

    Args:
        axis: the layer's axis.
        module: the model.
        width: number of indices for each unit: the width of a head, or 1.
        indivisible: parameters that cannot be cut, as `_shared_across_kinds` returns them.
        count: number of indices that are cut independently; those of a gate are further ones.

    Raises:
        ValueError: the axis cannot be cut.
    """
    if isinstance(axis.layer, nn.PReLU) and axis.layer.num_parameters == 1:
        return None
    if isinstance(axis.layer, nn.Parameter) or not axis.paths:
        raise ValueError("a parameter outside of every layer depends on its units")
    path = axis.paths[0]
    layer = module.get_submodule(path)
    shape = shape_of(layer)
    if shape is None:
        raise ValueError(
            f"{path} depends on its units, and bmc cannot cut this {type(layer).__name__}"
        )
    if shape.get("groups", 1) > 1 and not shape["in"] == shape["out"] == shape["groups"]:
        raise ValueError(f"{path} depends on its units, and is a grouped convolution")
    for value in layer.parameters(recurse=False):
        if id(value) in indivisible:
            raise ValueError(
                f"{path} depends on its units, and shares weights with {indivisible[id(value)]}, "
                "a layer of another kind or size"
            )
    size = _size(shape, axis.side)
    indices, unit_of_index = axis.coupled.indices, axis.coupled.units
    if isinstance(layer, nn.Embedding) and size * width == len(indices):
        return Member(axis.paths, axis.side, torch.arange(size))  # a bias for each head
    if None in unit_of_index or max(indices) >= size:
        raise ValueError(f"the graph does not say which index of {path} belongs to which unit")
    units = torch.full((size,), -1)
    units[torch.tensor(indices)] = torch.tensor(unit_of_index) % count // width
    return Member(axis.paths, axis.side, units)


def _size(shape: Shape, axis: str) -> int:
    names = ("in",) if axis == "in" else ("out", "hidden", "features", "width")
    return next(int(shape[name]) for name in names if name in shape)


def _is_within(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")
