"""An inspection as one HTML page that works offline, and texts that the terminal shows too."""

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

_MANY_SATURATED = 0.5  # share of values
_MAX_NOTES = 3  # of one kind


def html(inspection: Inspection) -> str:
    """Return the page with costs, activations, importance and sensitivity; it loads no files."""
    template = files("bmc.inspect").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    costs, sensitivity = inspection.costs, inspection.sensitivity
    layers = costs.layers
    return environment.from_string(template).render(
        inspection=inspection,
        sizes=sizes(costs),
        timed=how_timed(costs),
        layers=layers,
        largest={
            "parameters": max(max(layer.parameters for layer in layers), 1),
            "macs": max(max(layer.macs for layer in layers), 1),
            "time": max(max(costs.time_share(layer) for layer in layers), 1e-12),
        },
        ranges=Markup(picture.ranges(inspection.activations)) if inspection.activations else None,
        nonlinear=[activation for activation in inspection.activations if _has_share(activation)],
        active=ACTIVE,
        examples=[_example(explanation) for explanation in inspection.explanations],
        notes=notes(inspection),
        losses=Markup(picture.losses(sensitivity)) if sensitivity else None,
        worst=worst(sensitivity) if sensitivity else [],
        losses_by_layer=_losses_by_layer(sensitivity) if sensitivity else [],
    )


def sizes(costs: Costs) -> str:
    """Return the names and shapes of the inputs of the measured call."""
    shapes = [f"{name} {' x '.join(map(str, shape))}" for name, shape in costs.inputs.items()]
    return ", ".join(shapes)


def how_timed(costs: Costs) -> str:
    """Return a sentence on how the times were measured."""
    return (
        f"times: eager PyTorch, fp32, CPU, {costs.threads} thread(s), median call; "
        "they rank layers, and are not the latency of a bundle"
    )


def notes(inspection: Inspection) -> list[str]:
    """Return notes on the score, dead units, saturation, and values that are NaN or infinite."""
    kind = "validation rows" if inspection.measure else "rows of noise"
    rows = f"{inspection.rows} {kind}"
    lines = []
    score = inspection.score
    if score and inspection.measure:
        interval = f"[{score.low:.3f}, {score.high:.3f}]"
        lines.append(f"{inspection.measure} {score.value:.3f} {interval} on {rows}")
    dead = [activation for activation in inspection.activations if activation.dead]
    for activation in sorted(dead, key=lambda item: -(item.dead or 0))[:_MAX_NOTES]:
        lines.append(
            f"{activation.dead} of {activation.units} units never above {ACTIVE:g} on {rows}: "
            f"{picture.label(activation)}"
        )
    saturated = [
        activation
        for activation in inspection.activations
        if (activation.saturated or 0) > _MANY_SATURATED
    ]
    for activation in sorted(saturated, key=lambda item: -(item.saturated or 0))[:_MAX_NOTES]:
        lines.append(
            f"{activation.saturated:.0%} of values at their bounds: {picture.label(activation)}"
        )
    for activation in inspection.activations:
        if activation.not_finite:
            lines.append(
                f"{activation.not_finite} values are NaN or infinite: {picture.label(activation)}"
            )
    return lines


def worst(sensitivity: Sensitivity) -> list[str]:
    """Return for each change a sentence on the layer that loses most."""
    lines = []
    for change in dict.fromkeys(loss.change for loss in sensitivity.losses):
        losses = sensitivity.of(change).values()
        largest = max(losses, key=lambda loss: (loss.lost.value, loss.moved))
        lines.append(f"{change}: {largest.layer or '(model)'} loses {_points(largest)}")
    return lines


def _points(loss: Loss) -> str:
    lost = loss.lost
    return f"{100 * lost.value:.1f} points [{100 * lost.low:.1f}, {100 * lost.high:.1f}]"


def _losses_by_layer(sensitivity: Sensitivity) -> list[tuple[str, dict[str, Loss]]]:
    """Return each layer with its losses by change."""
    layers: dict[str, dict[str, Loss]] = {}
    for loss in sensitivity.losses:
        layers.setdefault(loss.layer or "(model)", {})[loss.change] = loss
    return list(layers.items())


def _has_share(activation: Activation) -> bool:
    return activation.dead is not None or activation.saturated is not None


def _example(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as the variables of the page: colors of words, or two images."""
    is_right = explanation.truth == explanation.prediction
    example: dict[str, Any] = {"explanation": explanation, "is_right": is_right}
    if explanation.words is not None:
        largest = max((abs(weight) for _, weight in explanation.words), default=0.0)
        words = [
            (word, weight, picture.color(weight, largest)) for word, weight in explanation.words
        ]
        return {**example, "words": words}
    weights, values = explanation.weights, explanation.values
    if weights is None or values is None:
        return example
    if values.ndim == 3:
        return {**example, "input": picture.image(values), "map": picture.heat(weights)}
    # A series is transposed: steps from left to right, channels from top to bottom.
    return {
        **example,
        "input": picture.gray(values.T),
        "map": picture.heat(weights.T),
        "series": values.shape,
    }
