"""The results of `bmc inspect` in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bmc import console
from bmc.contracts import tasks
from bmc.data import Examples
from bmc.errors import UsageError
from bmc.inputs import Many, longest_row
from bmc.inspect import importance, sensitivity
from bmc.inspect.activations import Activation, activations_of, unpadded
from bmc.inspect.importance import Explanation
from bmc.inspect.kept import drawn
from bmc.inspect.layers import Costs, costs_of
from bmc.inspect.sensitivity import Sensitivity
from bmc.inspect.settings import InspectSettings as InspectSettings
from bmc.measure.scores import Interval, relative_to
from bmc.model import Model
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of

TOKENS = 32
"""Number of tokens of a text, or steps of a series, for which a model's costs are counted."""


@dataclass(frozen=True)
class Inspection:
    """The results of an inspection.

    Args:
        name: name of the model.
        family: family of the model.
        task: name of the task, such as "classification".
        kind: kind of the input rows.
        costs: costs of each layer.
        rows: number of validation rows (for a generator, of seeds of noise).
        activations: statistics of activations, in the order of the computation.
        measure: name of the score; None for a generator.
        score: score on the rows; None for a generator.
        explanations: feature importance for some rows.
        sensitivity: score that each layer costs; None where it was not measured.
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
        """Return the results, except the weights of pixels and time steps, as a JSON object."""
        return {
            "model": self.name,
            "family": self.family,
            "task": self.task,
            "costs": self.costs.to_json(),
            "rows": self.rows,
            "measure": self.measure,
            "score": asdict(self.score) if self.score else None,
            "activations": [activation.to_json() for activation in self.activations],
            "importance": [explanation.to_json() for explanation in self.explanations],
            "sensitivity": asdict(self.sensitivity) if self.sensitivity else None,
        }


def inspect_model(
    name: str, model: Model, validation: Examples | None, settings: InspectSettings
) -> Inspection:
    """Inspect a model with validation rows; the model is not changed.

    Args:
        name: name of the model.
        model: the model, on the CPU.
        validation: labeled rows; None for a generator, which is run on noise.
        settings: settings of the inspection.

    Raises:
        UsageError: sensitivity is asked of a generator, which has no labels to compute a score by.
    """
    model.module.eval()
    if not model.has_labels or validation is None:
        if settings.sensitivity:
            raise UsageError(
                f"{name} is a generator, which has no score to measure sensitivity by: leave it out"
            )
        rows = Rows(range(settings.rows), [], model.encoder)
        return _inspection(name, model, rows, settings.rows, settings)
    indices = drawn(len(validation), settings.rows)
    raw_rows: Many = [validation.rows[index] for index in indices]
    truth = [validation.labels[index] for index in indices]
    rows = Rows(raw_rows, truth, model.encoder)
    outputs = outputs_of(model.module, rows)
    labels = rows.labels.numpy()
    scoring = tasks.scoring(model.task, model.labels)
    explanations: Sequence[Explanation] = ()
    # No single number of a vector is explained, and a row of words has a prediction for each word.
    if model.task not in (tasks.EMBEDDING, tasks.TOKENS):
        chosen = importance.choose(
            relative_to(outputs, model.thresholds), labels, model.task, settings.examples
        )
        explanations = importance.explain(model, raw_rows, truth, chosen)
    return replace(
        _inspection(name, model, rows, len(raw_rows), settings),
        measure=scoring.measure,
        score=scoring.interval(relative_to(outputs, model.thresholds), labels),
        explanations=tuple(
            replace(explanation, row=indices[explanation.row]) for explanation in explanations
        ),
        sensitivity=sensitivity.measure(model, raw_rows, truth) if settings.sensitivity else None,
    )


def costs_at(model: Model, length: int, runs: int = 9) -> Costs:
    """Count and time a model's layers on one row: an image, or `length` tokens or steps.

    Args:
        model: the model, in evaluation mode and on the CPU.
        length: length of a text or series.
        runs: number of timed calls, whose median is taken; 1 is enough for parameters and MACs.
    """
    encoder = model.encoder
    golden = encoder.batch(encoder.encode([encoder.example()]), [0])
    most = longest_row(encoder)
    arrays = encoder.sized(golden, 1, length if most is None else min(length, most))
    inputs: Mapping[str, Tensor] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return costs_of(model.module, inputs, runs)


def _inspection(
    name: str, model: Model, rows: Rows, count: int, settings: InspectSettings
) -> Inspection:
    """Measure layers and activations.

    Args:
        name: name of the model.
        model: the model.
        rows: encoded rows; of a long row of words, several windows.
        count: number of rows before they were encoded.
        settings: settings of the inspection.
    """
    console.note(f"{name}: measuring layers, then activations on {count} rows")
    costs = costs_at(model, settings.length)
    return Inspection(
        name=name,
        family=model.family,
        task=model.task,
        kind=model.encoder.kind,
        costs=costs,
        rows=count,
        activations=tuple(activations_of(model.module, unpadded(rows))),
    )
