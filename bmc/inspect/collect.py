"""Everything that `bmc inspect` finds out about a model, in one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bmc import console
from bmc.data import Examples
from bmc.errors import UsageError
from bmc.inputs import Many
from bmc.inspect import importance, sensitivity
from bmc.inspect.activations import Activation, activations_of, unpadded
from bmc.inspect.importance import Explanation
from bmc.inspect.layers import Costs, costs_of
from bmc.inspect.sensitivity import Sensitivity
from bmc.inspect.settings import InspectSettings as InspectSettings
from bmc.measure.scores import Interval
from bmc.model import Model
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of

TOKENS = 32
"""Tokens of a text, or steps of a series, that a model's costs are counted at."""


@dataclass(frozen=True)
class Inspection:
    """What was found out about a model.

    Args:
        name: of the model.
        family: that builds it.
        task: "classification", "regression" or "generation".
        kind: of its input rows.
        costs: by layer.
        rows: validation rows that were looked at (seeds of noise for a generator).
        activations: in the order of the computation.
        measure: what the score is; None for a generator.
        score: on these rows; None for a generator.
        explanations: of chosen rows.
        sensitivity: None where it was not measured.
    """

    name: str
    family: str
    task: str
    kind: str
    costs: Costs
    rows: int
    activations: tuple[Activation, ...]
    measure: str | None = None
    score: Interval | None = None
    explanations: tuple[Explanation, ...] = ()
    sensitivity: Sensitivity | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all of it, but for maps of pixels and series, as a JSON object."""
        return {
            "model": self.name,
            "family": self.family,
            "task": self.task,
            "costs": self.costs.to_json(),
            "rows": self.rows,
            "measure": self.measure,
            "score": asdict(self.score) if self.score else None,
            "activations": [each.to_json() for each in self.activations],
            "importance": [each.to_json() for each in self.explanations],
            "sensitivity": asdict(self.sensitivity) if self.sensitivity else None,
        }


def inspect_model(
    name: str, model: Model, validation: Examples | None, settings: InspectSettings
) -> Inspection:
    """Look into a model with validation rows; the model is not changed.

    Args:
        name: of the model.
        model: loaded, on the CPU.
        validation: labeled rows; None for a generator, which answers seeds of noise.
        settings: what to look at.

    Raises:
        UsageError: sensitivity of a generator, which has no labels to lose a score by.
    """
    model.module.eval()
    if model.task == "generation" or validation is None:
        if settings.sensitivity:
            raise UsageError(f"{name} is a generator: it has no score that a layer could lose")
        rows = Rows(range(settings.rows), [], model.encoder)
        return _inspection(name, model, rows, settings)
    drawn = np.random.default_rng(0).permutation(len(validation))[: settings.rows]
    places = np.sort(drawn).tolist()
    raw: Many = [validation.rows[place] for place in places]
    truth = [validation.labels[place] for place in places]
    rows = Rows(raw, truth, model.encoder)
    outputs = outputs_of(model.module, rows)
    labels = rows.labels.numpy()
    measure, score = sensitivity.score_of(model.task, outputs, labels)
    chosen = importance.choose(outputs, labels, model.task, settings.examples)
    explained = importance.explain(model, raw, truth, chosen)
    return replace(
        _inspection(name, model, rows, settings),
        measure=measure,
        score=score,
        explanations=tuple(replace(each, row=places[each.row]) for each in explained),
        sensitivity=sensitivity.measure(model, rows) if settings.sensitivity else None,
    )


def costs_at(model: Model, length: int, runs: int = 9) -> Costs:
    """Measure a model's layers on one row: of `length` tokens or steps, or one image.

    Args:
        model: in evaluation mode, on the CPU.
        length: of a text or series.
        runs: calls of which the median time is taken; what is only counted needs one.
    """
    encoder = model.encoder
    golden = encoder.batch(encoder.encode([encoder.example()]), [0])
    most = encoder.longest().get("sequence", length)
    arrays = encoder.sized(golden, 1, min(length, most))
    inputs: Mapping[str, Tensor] = {name: torch.from_numpy(each) for name, each in arrays.items()}
    return costs_of(model.module, inputs, runs)


def _inspection(name: str, model: Model, rows: Rows, settings: InspectSettings) -> Inspection:
    console.note(f"{name}: layers, then activations of {len(rows)} rows")
    costs = costs_at(model, settings.length)
    return Inspection(
        name=name,
        family=model.family,
        task=model.task,
        kind=model.encoder.kind,
        costs=costs,
        rows=len(rows),
        activations=tuple(activations_of(model.module, unpadded(rows))),
    )
