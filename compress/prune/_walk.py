"""A bounded walk over torch-pruning's dependency graph: which indices of which layers depend.

torch-pruning's own walk does not end for a feature map that is read both flattened and averaged:
flattening maps one channel to many indices, averaging maps each index back to many channels, and
the lists of indices grow without bound. This walk visits the same nodes in the same order, and
gives a group up above a limit (docs/decisions/0025-the-graph-is-walked-with-a-bound.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch_pruning
from torch import nn
from torch_pruning import dependency
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency import index_mapping

_MAX_INDICES = 4_000_000  # sum over the lists of one group: about 500 MB and 10 seconds
_MAX_DEPENDENCIES = 10_000  # of one group


@dataclass(frozen=True)
class CoupledAxis:
    """One axis of a layer that depends on the outputs of a group's root layer.

    Args:
        layer: the layer, a parameter outside of every layer, or an operator between layers.
        axis: "out" for the outputs of a layer, "in" for its inputs.
        indices: indices on that axis.
        units: for each index the output of the root layer that it depends on; None where
            torch-pruning does not know it.
    """

    layer: Any
    axis: str
    indices: list[int]
    units: list[int | None]


def groups_in(
    graph: torch_pruning.DependencyGraph, root_classes: tuple[type[nn.Module], ...]
) -> Iterator[tuple[nn.Module, list[CoupledAxis]]]:
    """Yield each root layer, which computes units, with all axes that depend on its outputs.

    The list of axes is empty where the group exceeds a limit.

    Args:
        graph: torch-pruning's dependency graph, already built.
        root_classes: classes of the layers to start from. A layer that computes units of an earlier
            group is skipped.
    """
    seen_ids: set[int] = set()
    for layer in list(graph.module2node):
        if not isinstance(layer, root_classes) or id(layer) in seen_ids:
            continue
        pruner = graph.get_pruner_of_module(layer)
        channels = None if pruner is None else pruner.get_out_channels(layer)
        if channels is None:
            continue
        group = _walk(graph, layer, pruner, channels)
        seen_ids |= {id(axis.layer) for axis in group if axis.axis == "out"} | {id(layer)}
        yield layer, group


def _walk(
    graph: torch_pruning.DependencyGraph, layer: nn.Module, pruner: Any, channels: int
) -> list[CoupledAxis]:
    """Return all axes that depend on a layer's outputs; an empty list above a limit."""
    prune_function = pruner.prune_out_channels
    if isinstance(layer, nn.Conv2d) and layer.groups == channels > 1:
        prune_function = torch_pruning.prune_depthwise_conv_out_channels
    index_mapping.update_index_mapping(graph)
    root = graph.module2node[layer]
    indices = [_HybridIndex(idx=index, root_idx=index) for index in range(channels)]
    root_edge = dependency.Dependency(prune_function, prune_function, source=root, target=root)
    group, merged = dependency.Group(), dependency.Group()
    group.add_dep(root_edge, indices)
    stack, visited, total = [(root_edge, indices)], set(), 0
    while stack:
        edge, indices = stack.pop()
        node = edge.target
        visited.add(node)
        for next_edge in node.dependencies:
            if not next_edge.is_triggered_by(edge.handler):
                continue
            mapped = indices
            for mapping in next_edge.index_mapping:
                stride = 1 if mapping is None or mapping.reverse else getattr(mapping, "_stride", 1)
                if len(mapped) * stride > _MAX_INDICES:
                    return []
                mapped = mapped if mapping is None else mapping(mapped)
            in_group = next_edge.target in visited and group.has_pruning_op(next_edge, mapped)
            if not len(mapped) or in_group:
                continue
            total += len(mapped)
            if total > _MAX_INDICES or len(group) > _MAX_DEPENDENCIES:
                return []
            group.add_dep(next_edge, mapped)
            stack.append((next_edge, mapped))
    for edge, indices in group.items:
        merged.add_and_merge(edge, indices)
    return [
        CoupledAxis(
            edge.target.module,
            "out" if graph.is_out_channel_pruning_fn(edge.handler) else "in",
            [index.idx for index in indices],
            [index.root_idx for index in indices],
        )
        for edge, indices in merged.items
    ]
