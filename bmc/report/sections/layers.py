"""Size and time of each layer, where `bmc inspect` measured them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bmc.inspect.recorded_costs import LayerCost, LayerCosts
from bmc.report.line import Report
from bmc.report.templates import render

_MAX_LAYERS = 60  # of a table; the rest is summed up
_MAX_OPEN = 2
_MAX_COMMANDS = 4


@dataclass(frozen=True)
class LayerRow:
    """A layer in the table.

    Args:
        layer: the layer.
        size_share: share of the model's bytes, in percent.
        time_share: share of the time of all layers, in percent.
    """

    layer: LayerCost
    size_share: float
    time_share: float


@dataclass(frozen=True)
class Model:
    """The layers of a model.

    Args:
        names: names of the bundles with these weights.
        model: name of the model.
        costs: what was measured.
        rows: the layers that take most of the size or the time, in the order of the model.
        left_out: number of the other layers.
    """

    names: list[str]
    model: str
    costs: LayerCosts
    rows: list[LayerRow]
    left_out: int


def section(report: Report) -> Markup:
    """Return the layers of each model that was inspected, or the commands that inspect them."""
    known: dict[str, list[str]] = {}
    missing: dict[str, None] = {}
    for line in report.lines:
        if line.layers:
            known.setdefault(line.lineage.weights, []).append(line.name)
        elif line.lineage.weights and not line.floor and not line.failed:
            missing.setdefault(f"bmc inspect {shlex.quote(line.model)}")
    models = []
    for names in known.values():
        first = report.line_of(names[0])
        if first and first.layers:
            models.append(_model(names, first.model, first.layers))
    if not models and not missing:
        return Markup("")
    commands = list(missing)[:_MAX_COMMANDS]
    return render("layers.html", {"models": models, "commands": commands, "most": _MAX_OPEN})


def _model(names: list[str], model: str, costs: LayerCosts) -> Model:
    layers = costs.layers
    size = max(sum(layer.bytes for layer in layers), 1)
    time = max(sum(layer.milliseconds for layer in layers), 1e-12)
    rows = [
        LayerRow(layer, 100 * layer.bytes / size, 100 * layer.milliseconds / time)
        for layer in layers
    ]
    return Model(names, model, costs, _largest(rows), max(len(rows) - _MAX_LAYERS, 0))


def _largest(rows: Sequence[LayerRow]) -> list[LayerRow]:
    """Return the layers with the largest shares, in their order."""
    order = sorted(range(len(rows)), key=lambda at: -max(rows[at].size_share, rows[at].time_share))
    return [rows[at] for at in sorted(order[:_MAX_LAYERS])]
