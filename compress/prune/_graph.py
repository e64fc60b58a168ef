"""Groups of units that must be pruned together, from torch-pruning's dependency graph.

A unit is a channel, a hidden unit, an attention head, or an index of the model's width. Some layers
compute it (their outputs) and some read it (their inputs). torch-pruning traces a copy of the
model, and only tells which indices of which layers depend on each other.

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

from bmc.compress.prune._walk import Coupled, groups_in
from bmc.errors import BmcError, UsageError
from bmc.foreign import summary_of
from bmc.model import Parts, answers_of
from bmc.structure.shapes import Shape, shape_of

KINDS = ("channels", "hidden", "heads", "width")
_ENDLESS = "what reads it, whole maps and their means together, couples its units without an end"


@dataclass(frozen=True)
class Member:
    """One axis of a layer that gets shorter when units are cut.

    Args:
        paths: of the layer, and of all layers that are the same one or tied to it.
        axis: "out" for its outputs, "in" for its inputs.
        units: the unit of each index on that axis, int64; -1 for one of another group.
    """

    paths: tuple[str, ...]
    axis: str
    units: Tensor


@dataclass(frozen=True)
class Group:
    """Units that are pruned together.

    Args:
        name: path of the layer that computes them, or of the first of several.
        kind: one of KINDS.
        units: number of units.
        layers: paths of all layers that compute them.
        members: the axes of layers that compute or read them.
        attentions: paths of the modules whose heads they are.
        reason: why they cannot be cut; "" where they can.
    """

    name: str
    kind: str
    units: int
    layers: tuple[str, ...]
    members: tuple[Member, ...] = ()
    attentions: tuple[str, ...] = ()
    reason: str = ""


def groups_of(module: nn.Module, example: Mapping[str, Tensor], parts: Parts) -> list[Group]:
    """Return the groups of units of a model, without its outputs.

    Args:
        module: a live model; it is not changed.
        example: inputs to trace with.
        parts: where heads and outputs are.

    Raises:
        UsageError: the model cannot be traced.
    """
    twin = _twin(module)
    paths: dict[int, list[str]] = {}
    for path, layer in twin.named_modules(remove_duplicate=False):
        paths.setdefault(id(layer), []).append(path.removesuffix(f".{_StandIn.INNER}"))
    foreign = _tied_to_others(module)
    groups = []
    for root, coupled in _coupled(twin, example):
        if not coupled:
            layers = tuple(paths[id(root)])
            kind = "channels" if isinstance(root, nn.Conv2d) else "hidden"
            groups.append(Group(layers[0], kind, 1, layers, reason=_ENDLESS))
            continue
        items = [
            _Item(
                tuple(paths.get(id(item.layer), ())), item.layer, item.axis, item.places, item.units
            )
            for item in coupled
        ]
        paths_out = [path for item in items if item.axis == "out" for path in item.paths]
        is_output = any(_under(path, output) for path in paths_out for output in parts.outputs)
        if not is_output and any(item.axis == "in" for item in items):
            groups.append(_group(items, module, parts, foreign))
    return groups


class _StandIn(nn.Module):
    """Stands in for a recurrent layer, which the graph cannot trace, with the same dependencies."""

    INNER = "recurrent_stand_in"

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        directions = 2 if layer.bidirectional else 1
        self.size = layer.proj_size or layer.hidden_size
        self.add_module(self.INNER, nn.Linear(layer.input_size, directions * self.size))
        self.has_cell = layer.mode == "LSTM"
        self.time = 1 if layer.batch_first else 0
        self.layers = layer.num_layers

    def forward(self, vectors: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        states = torch.tanh(self.get_submodule(self.INNER)(vectors))
        last = states.select(self.time, -1)[None]
        if last.shape[-1] != self.size or self.layers > 1:
            last = torch.cat([*torch.split(last, self.size, dim=-1)] * self.layers)
        return states, (last, last) if self.has_cell else last


_OUTPUT = torch_pruning.ops._OutputOp
_JOINTS = (  # what the graph has between layers
    torch_pruning.ops._ElementWiseOp,
    torch_pruning.ops._ReshapeOp,
    torch_pruning.ops._ConcatOp,
    torch_pruning.ops._SplitOp,
    torch_pruning.ops._UnbindOp,
    torch_pruning.ops._ExpandOp,
    torch_pruning.ops._SliceOp,
)


@dataclass(frozen=True)
class _Item:
    """A layer's axis in one of torch-pruning's groups: the unit of each index."""

    paths: tuple[str, ...]
    layer: Any
    axis: str
    places: list[int]
    units: list[int | None]


def _twin(module: nn.Module) -> nn.Module:
    """Return a copy to trace: layers with tied weights are one, recurrent layers are stand-ins."""
    twin: Any = copy.deepcopy(module).cpu().eval().requires_grad_(True)
    if hasattr(twin, "set_attn_implementation"):  # fused attention cannot be traced
        twin.set_attn_implementation("eager")
    first: dict[tuple[int, str], nn.Module] = {}
    instead: dict[int, nn.Module] = {}
    for path, layer in list(twin.named_modules(remove_duplicate=False)):
        keys = [(id(value), str(shape_of(layer))) for value in layer.parameters(recurse=False)]
        replacement = next((first[key] for key in keys if key in first), layer)
        first |= dict.fromkeys(keys, replacement)
        if isinstance(replacement, nn.RNNBase):
            replacement = instead.setdefault(id(replacement), _StandIn(replacement))
        if replacement is not layer:
            twin.set_submodule(path, replacement)
    return twin  # type: ignore[no-any-return]


def _tied_to_others(module: nn.Module) -> dict[int, str]:
    """Return the parameters that layers of different kinds share, by id, with one layer's path.

    They cannot be cut: the units of one layer are something else in the other.
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


def _coupled(
    twin: nn.Module, example: Mapping[str, Tensor]
) -> Iterator[tuple[nn.Module, list[Coupled]]]:
    """Trace the copy, and yield layers that compute units, with everything that depends on these.

    Groups that contain the model's output are left out; a group is empty where the walk gave up.
    """
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            graph = torch_pruning.DependencyGraph().build_dependency(
                twin,
                dict(example),
                forward_fn=_all_answers,
                verbose=False,
            )
        except Exception as error:
            reason = str(error) if isinstance(error, BmcError) else summary_of(error)
            raise UsageError(
                f"the dependency graph cannot follow this model ({reason}); "
                "try --method unstructured"
            ) from error
        for node in graph.module2node.values():
            if isinstance(node.module, torch_pruning.ops._ConcatOp):
                node.grad_fn = None  # it would want features on axis 1; so the sizes tell
        seen: set[int] = set()
        for kinds in ((nn.Conv2d, nn.Linear), (nn.Embedding,)):
            for root, group in groups_in(graph, kinds):
                layers = [item.layer for item in group]
                again = kinds == (nn.Embedding,) and id(root) in seen
                seen |= {id(layer) for layer in layers}
                if not group:
                    yield root, []
                elif not again and not any(isinstance(layer, _OUTPUT) for layer in layers):
                    yield root, [item for item in group if not isinstance(item.layer, _JOINTS)]


def _all_answers(twin: nn.Module, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the outputs to trace; for a user's network, those of training too.

    Heads that only training reads are then pruned with the others.
    """
    answers = answers_of(twin, inputs)[:1]
    if getattr(twin, "is_foreign", False):
        trained = answers_of(twin.train(), inputs)
        answers = trained if len(trained) > 1 else answers
    return answers


def _group(
    items: list[_Item], module: nn.Module, parts: Parts, foreign: Mapping[int, str]
) -> Group:
    """Return one of torch-pruning's groups as a group of units."""
    layers = tuple(path for item in items if item.axis == "out" for path in item.paths)
    attentions = _attentions(items, parts)
    kind = "heads" if attentions else _kind(items)
    units = len(items[0].places)
    try:
        width = _width_of_a_head(attentions, units, parts)
        members = [_member(item, module, width, foreign) for item in items]
    except ValueError as error:
        return Group(layers[0], kind, units, layers, reason=str(error))
    known = tuple(member for member in members if member is not None)
    return Group(layers[0], kind, units // width, layers, known, attentions)


def _attentions(items: list[_Item], parts: Parts) -> tuple[str, ...]:
    """Return the attention modules of which at least two projections compute these units.

    If only one does, the units are inside a projection: the rank of a factorized one.
    """
    paths_out = [path for item in items if item.axis == "out" for path in item.paths]
    attentions = []
    for attention in parts.heads:
        inside = [path for path in paths_out if _under(path, attention)]
        if len({path[len(attention) + 1 :].split(".")[0] for path in inside}) > 1:
            attentions.append(attention)
    has_norm = any(isinstance(item.layer, nn.LayerNorm) for item in items)
    return () if has_norm else tuple(attentions)


def _kind(items: list[_Item]) -> str:
    wide = (nn.LayerNorm, nn.Embedding, nn.Parameter)
    if any(isinstance(item.layer, wide) for item in items):
        return "width"
    is_conv = any(isinstance(item.layer, nn.Conv2d) and item.axis == "out" for item in items)
    return "channels" if is_conv else "hidden"


def _width_of_a_head(attentions: tuple[str, ...], places: int, parts: Parts) -> int:
    if not attentions:
        return 1
    heads = {parts.heads[attention] for attention in attentions}
    if len(heads) > 1 or places % max(heads):
        raise ValueError(f"its attentions have {sorted(heads)} heads of {places} places")
    return places // heads.pop()


def _member(
    item: _Item, module: nn.Module, width: int, foreign: Mapping[int, str]
) -> Member | None:
    """Return an item as a member; None where it has nothing to cut.

    Raises:
        ValueError: the item cannot be cut.
    """
    if isinstance(item.layer, nn.PReLU) and item.layer.num_parameters == 1:
        return None
    if isinstance(item.layer, nn.Parameter) or not item.paths:
        raise ValueError("a parameter outside of any known layer depends on it")
    path = item.paths[0]
    layer = module.get_submodule(path)
    shape = shape_of(layer)
    if shape is None:
        raise ValueError(f"{path} depends on it, a {type(layer).__name__}")
    if shape.get("groups", 1) > 1 and not shape["in"] == shape["out"] == shape["groups"]:
        raise ValueError(f"{path} depends on it, a convolution in groups")
    for value in layer.parameters(recurse=False):
        if id(value) in foreign:
            raise ValueError(f"{path} shares weights with {foreign[id(value)]}, another kind")
    size = _size(shape, item.axis)
    if isinstance(layer, nn.Embedding) and size * width == len(item.places):
        return Member(item.paths, item.axis, torch.arange(size))  # a bias for each head
    if None in item.units or max(item.places) >= size:
        raise ValueError(f"{path} depends on it in a way that is not known")
    units = torch.full((size,), -1)
    units[torch.tensor(item.places)] = torch.tensor(item.units) // width
    return Member(item.paths, item.axis, units)


def _size(shape: Shape, axis: str) -> int:
    names = ("in",) if axis == "in" else ("out", "hidden", "features", "width")
    return next(int(shape[name]) for name in names if name in shape)


def _under(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")
