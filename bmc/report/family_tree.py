"""The models of a report as a forest: each below the model that it was made from or taught by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bmc.report.line import Line


@dataclass
class Node:
    """A model.

    Args:
        key: sha256 of its weights, or its name where no weights are recorded.
        name: name of the model.
        lines: its bundles; none for a model that has no bundle in the report.
        parent: key of the model that it was made from or taught by; "" for none.
        steps: techniques that lead from the parent to the model.
        depth: number of models above it.
        row: vertical position, in rows.
    """

    key: str
    name: str
    lines: list[Line] = field(default_factory=list)
    parent: str = ""
    steps: tuple[str, ...] = ()
    depth: int = 0
    row: float = 0.0


def family_tree(lines: Sequence[Line]) -> list[Node]:
    """Return the models of bundles, placed so that no two have the same depth and row.

    A bundle is untrusted: where models are recorded as made from each other, the last such record
    is ignored.

    Args:
        lines: bundles of a report.
    """
    nodes: dict[str, Node] = {}
    for line in lines:
        key = line.lineage.weights or f"name {line.model}"
        node = nodes.setdefault(key, Node(key, line.model))
        node.name = line.model
        node.lines.append(line)
    for node in list(nodes.values()):
        _link(node, nodes)
    _place(nodes)
    return list(nodes.values())


def _link(node: Node, nodes: dict[str, Node]) -> None:
    """Find the parent of a model; add a model without bundles where the parent has none."""
    line = node.lines[0]
    lineage = line.lineage
    if lineage.made_from:
        parent = _node(nodes, lineage.made_from_weights, lineage.made_from)
        if not parent.lines and not parent.parent and lineage.teacher:
            teacher = _node(nodes, lineage.teacher_weights, lineage.teacher)
            _set_parent(parent, teacher, lineage.steps[:1], nodes)
        known = parent.lines[0].lineage.steps if parent.lines else lineage.steps[:-1]
        is_longer = lineage.steps[: len(known)] == known
        steps = lineage.steps[len(known) :] if is_longer else lineage.steps[-1:]
        _set_parent(node, parent, steps, nodes)
    elif lineage.teacher:
        teacher = _node(nodes, lineage.teacher_weights, lineage.teacher)
        _set_parent(node, teacher, lineage.steps, nodes)


def _node(nodes: dict[str, Node], weights: str, name: str) -> Node:
    """Return the model of these weights, or of this name where no weights are recorded."""
    if weights in nodes:
        return nodes[weights]
    if not weights:
        namesake = next((node for node in nodes.values() if node.name == name), None)
        if namesake is not None:
            return namesake
    key = weights or f"name {name}"
    return nodes.setdefault(key, Node(key, name))


def _set_parent(
    node: Node, parent: Node, steps: tuple[str, ...], nodes: Mapping[str, Node]
) -> None:
    """Put a model below another one, unless the other one is below it already."""
    above: Node | None = parent
    while above is not None:
        if above.key == node.key:
            return
        above = nodes.get(above.parent)
    node.parent, node.steps = parent.key, steps


def _place(nodes: Mapping[str, Node]) -> None:
    """Give each leaf a row of its own, and every other model the middle of its children's rows."""
    children: dict[str, list[Node]] = {}
    for node in nodes.values():
        children.setdefault(node.parent, []).append(node)
    free_row = 0
    pending = [(node, False) for node in reversed(children.get("", []))]
    while pending:
        node, is_seen = pending.pop()
        below = children.get(node.key, [])
        if below and not is_seen:
            pending.append((node, True))
            for child in reversed(below):
                child.depth = node.depth + 1
                pending.append((child, False))
        elif below:
            node.row = (below[0].row + below[-1].row) / 2
        else:
            node.row = free_row
            free_row += 1
