"""A bounded walk over torch-pruning's dependency graph: which indices of which layers depend.

torch-pruning's own walk does not end where a map is read both flattened and averaged: in one
direction a channel is many indices, in the other an index is many channels, and its lists grow
without end. This walk visits the same nodes in the same order, and gives up at a bound
(docs/decisions/0025-the-graph-is-walked-with-a-bound.md).
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

_MOST_PLACES = 4_000_000  # in all lists of one group: some 500 MB, 10 seconds
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class Coupled:
    """A layer's axis in a group.

    Args:
        layer: the layer, a parameter outside of any layer, or an operator between layers.
        axis: "out" for the outputs of a layer, "in" for its inputs.
        places: indices on that axis.
        units: the root layer's index that each belongs to; None where that is not known.
    """

    layer: Any
    axis: str
    places: list[int]
    units: list[int | None]


def groups_in(
    graph: torch_pruning.DependencyGraph, kinds: tuple[type[nn.Module], ...]
) -> Iterator[tuple[nn.Module, list[Coupled]]]:
    """Yield layers that compute units, with everything that depends on these.

    The list is empty where the walk gave up.

    Args:
        graph: torch-pruning's, built.
        kinds: classes of the layers to start from; layers of an earlier group are skipped.
    """
    seen: set[int] = set()
    for layer in list(graph.module2node):
        if not isinstance(layer, kinds) or id(layer) in seen:
            continue
        pruner = graph.get_pruner_of_module(layer)
        channels = None if pruner is None else pruner.get_out_channels(layer)
        if channels is None:
            continue
        group = _walked(graph, layer, pruner, channels)
        seen |= {id(item.layer) for item in group if item.axis == "out"} | {id(layer)}
        yield layer, group


def _walked(
    graph: torch_pruning.DependencyGraph, layer: nn.Module, pruner: Any, channels: int
) -> list[Coupled]:
    """Return everything that depends on a layer's outputs; an empty list at a bound."""
    prunes = pruner.prune_out_channels
    if isinstance(layer, nn.Conv2d) and layer.groups == channels > 1:
        prunes = torch_pruning.prune_depthwise_conv_out_channels
    index_mapping.update_index_mapping(graph)
    root = graph.module2node[layer]
    places = [_HybridIndex(idx=place, root_idx=place) for place in range(channels)]
    first = dependency.Dependency(prunes, prunes, source=root, target=root)
    group, merged = dependency.Group(), dependency.Group()
    group.add_dep(first, places)
    stack, visited, total = [(first, places)], set(), 0
    while stack:
        edge, places = stack.pop()
        node = edge.target
        visited.add(node)
        for following in node.dependencies:
            if not following.is_triggered_by(edge.handler):
                continue
            mapped = places
            for mapping in following.index_mapping:
                stride = 1 if mapping is None or mapping.reverse else getattr(mapping, "_stride", 1)
                if len(mapped) * stride > _MOST_PLACES:
                    return []
                mapped = mapped if mapping is None else mapping(mapped)
            known = following.target in visited and group.has_pruning_op(following, mapped)
            if not len(mapped) or known:
                continue
            total += len(mapped)
            if total > _MOST_PLACES or len(group) > _MOST_STEPS:
                return []
            group.add_dep(following, mapped)
            stack.append((following, mapped))
    for edge, places in group.items:
        merged.add_and_merge(edge, places)
    return [
        Coupled(
            edge.target.module,
            "out" if graph.is_out_channel_pruning_fn(edge.handler) else "in",
            [place.idx for place in places],
            [place.root_idx for place in places],
        )
        for edge, places in merged.items
    ]
