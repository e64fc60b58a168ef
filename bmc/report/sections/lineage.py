"""How the models were made: a diagram, and the commands as they were typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bmc.measure.shown import significant
from bmc.report.axes import pixel
from bmc.report.family_tree import Node, family_tree
from bmc.report.line import Report
from bmc.report.templates import render

_BOX, _GAP, _ROW = (232, 56), 132, 72  # pixels: size of a box, between columns, between rows
_MAX_NAME, _MAX_TARGETS, _MAX_STEPS = 31, 38, 20  # characters


@dataclass(frozen=True)
class Drawn:
    """A model in the diagram.

    Args:
        node: the model.
        x: pixels from the left.
        y: pixels from the top.
        name: name of the model, shortened.
        size: number of its parameters as text; "" for a model without a bundle.
        targets: targets of its bundles, shortened.
        edge: SVG path from the parent; "" for a model without one.
        steps: techniques that lead from the parent, shortened.
        label: position of `steps`.
    """

    node: Node
    x: float
    y: float
    name: str
    size: str
    targets: str
    edge: str
    steps: str
    label: tuple[float, float]


def section(report: Report) -> Markup:
    """Return the diagram of all models with a recorded origin, and the commands of each model."""
    lines = [line for line in report.lines if not line.floor]
    nodes = family_tree(lines)
    commands = _commands(nodes)
    has_edges = any(node.parent for node in nodes)
    if not has_edges and not commands:
        return Markup("")
    drawn = _drawn(nodes) if has_edges else []
    size = (
        max((each.x + _BOX[0] for each in drawn), default=0) + 4,
        max((each.y + _BOX[1] for each in drawn), default=0) + 4,
    )
    return render("lineage.html", {"drawn": drawn, "size": size, "box": _BOX, "commands": commands})


def _drawn(nodes: Sequence[Node]) -> list[Drawn]:
    places = {
        node.key: (2.0 + node.depth * (_BOX[0] + _GAP), 2.0 + node.row * _ROW) for node in nodes
    }
    return [_draw(node, places) for node in nodes]


def _draw(node: Node, places: Mapping[str, tuple[float, float]]) -> Drawn:
    x, y = places[node.key]
    edge = ""
    if node.parent:
        start = places[node.parent][0] + _BOX[0], places[node.parent][1] + _BOX[1] / 2
        end, middle = y + _BOX[1] / 2, x - _GAP / 2
        edge = (
            f"M{pixel(start[0])} {pixel(start[1])}C{pixel(middle)} {pixel(start[1])} "
            f"{pixel(start[0] + 20)} {pixel(end)} {pixel(start[0] + 60)} {pixel(end)}"
            f"H{pixel(x - 6)}"
        )
    parameters = node.lines[0].parameters if node.lines else 0
    return Drawn(
        node,
        x,
        y,
        _short(node.name, _MAX_NAME),
        f"{_count(parameters)} parameters" if parameters else "",
        _short(_targets(node), _MAX_TARGETS),
        edge,
        _short(_steps(node), _MAX_STEPS),
        (x - 10, y + _BOX[1] / 2 - 6),
    )


def _targets(node: Node) -> str:
    """Return the targets of a model's bundles by precision, such as "int8: onnx, openvino"."""
    targets: dict[str, dict[str, None]] = {}
    for line in node.lines:
        targets.setdefault(line.precision, {})[line.target] = None
    parts = [f"{precision}: {', '.join(names)}" for precision, names in targets.items()]
    return "; ".join(parts) or "no bundle in this report"


def _steps(node: Node) -> str:
    """Return the techniques that lead from the parent, without their kind if there are several."""
    if len(node.steps) == 1:
        return node.steps[0]
    return " + ".join(step.rpartition("/")[2] for step in node.steps)


def _commands(nodes: Sequence[Node]) -> list[tuple[str, list[str]]]:
    """Return the commands of each model, without those that stand with a model before."""
    shown: set[str] = set()
    entries = []
    for node in sorted(nodes, key=lambda node: node.depth):
        typed = dict.fromkeys(command for line in node.lines for command in line.lineage.commands)
        commands = [command for command in typed if command not in shown]
        shown.update(commands)
        if commands:
            entries.append((node.name, commands))
    return entries


def _count(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{significant(number / size)} {unit}"
    return str(number)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
