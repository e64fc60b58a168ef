"""An inspection as one HTML page that opens offline, and the words it shares with the terminal."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from bmc.inspect import picture
from bmc.inspect.activations import ACTIVE, Activation
from bmc.inspect.collect import Inspection
from bmc.inspect.importance import Explanation
from bmc.inspect.layers import Costs
from bmc.inspect.sensitivity import Loss, Sensitivity

_SATURATED = 0.5
_SHOWN = 3


def html(found: Inspection) -> str:
    """Return the page: costs, activations, importance and sensitivity, nothing from outside."""
    template = files("bmc.inspect").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    layers = found.costs.layers
    return environment.from_string(template).render(
        found=found,
        sizes=sizes(found.costs),
        timed=how_timed(found.costs),
        layers=layers,
        most={
            "parameters": max(max(layer.parameters for layer in layers), 1),
            "macs": max(max(layer.macs for layer in layers), 1),
            "time": max(max(found.costs.time_share(layer) for layer in layers), 1e-12),
        },
        ranges=Markup(picture.ranges(found.activations)) if found.activations else None,
        nonlinear=[each for each in found.activations if _has_share(each)],
        active=ACTIVE,
        examples=[_example(each) for each in found.explanations],
        notes=notes(found),
        losses=Markup(picture.losses(found.sensitivity)) if found.sensitivity else None,
        worst=worst(found.sensitivity) if found.sensitivity else [],
        moved=_moved(found.sensitivity) if found.sensitivity else [],
    )


def sizes(costs: Costs) -> str:
    """Say which inputs the costs are of."""
    shapes = [f"{name} {' x '.join(map(str, shape))}" for name, shape in costs.inputs.items()]
    return ", ".join(shapes)


def how_timed(costs: Costs) -> str:
    """Say what the times are."""
    return (
        f"times: eager PyTorch, fp32, CPU, {costs.threads} thread(s), median call; "
        "they rank layers and are not what a bundle takes"
    )


def notes(found: Inspection) -> list[str]:
    """Return what a reader should not miss: dead units, saturation, numbers that are none."""
    rows = f"{found.rows} {'rows of noise' if found.task == 'generation' else 'validation rows'}"
    lines = []
    if found.score and found.measure:
        low, high = found.score.low, found.score.high
        lines.append(f"{found.measure} {found.score.value:.3f} [{low:.3f}, {high:.3f}] on {rows}")
    dead = [each for each in found.activations if each.dead]
    for each in sorted(dead, key=lambda one: -(one.dead or 0))[:_SHOWN]:
        lines.append(
            f"{each.dead} of {each.units} units never above {ACTIVE:g} on {rows}: "
            f"{picture.label(each)}"
        )
    full = [each for each in found.activations if (each.saturated or 0) > _SATURATED]
    for each in sorted(full, key=lambda one: -(one.saturated or 0))[:_SHOWN]:
        lines.append(f"{each.saturated:.0%} of values at their bounds: {picture.label(each)}")
    for each in found.activations:
        if each.not_finite:
            lines.append(f"{each.not_finite} values are no numbers: {picture.label(each)}")
    return lines


def worst(found: Sensitivity) -> list[str]:
    """Name the layer that loses most under each change."""
    lines = []
    for change in dict.fromkeys(loss.change for loss in found.losses):
        most = max(found.of(change).values(), key=lambda loss: (loss.lost.value, loss.moved))
        lines.append(f"{change}: {most.layer or '(model)'} loses {_points(most)}")
    return lines


def _points(loss: Loss) -> str:
    value, low, high = (100 * each for each in (loss.lost.value, loss.lost.low, loss.lost.high))
    return f"{value:.1f} points [{low:.1f}, {high:.1f}]"


def _moved(found: Sensitivity) -> list[tuple[str, dict[str, Loss]]]:
    """Return each layer's losses by change."""
    layers: dict[str, dict[str, Loss]] = {}
    for loss in found.losses:
        layers.setdefault(loss.layer or "(model)", {})[loss.change] = loss
    return list(layers.items())


def _has_share(each: Activation) -> bool:
    return each.dead is not None or each.saturated is not None


def _example(each: Explanation) -> dict[str, Any]:
    shown: dict[str, Any] = {"told": each, "right": each.truth == each.answer}
    if each.words is not None:
        largest = max((abs(weight) for _, weight in each.words), default=0.0)
        words = [(word, weight, picture.color(weight, largest)) for word, weight in each.words]
        return {**shown, "words": words}
    if each.weights is None or each.shown is None:
        return shown
    if each.shown.ndim == 3:
        return {**shown, "before": picture.image(each.shown), "map": picture.heat(each.weights)}
    # A series lies on its side: steps from left to right, channels from top to bottom.
    return {
        **shown,
        "before": picture.gray(each.shown.T),
        "map": picture.heat(each.weights.T),
        "series": each.shown.shape,
    }
