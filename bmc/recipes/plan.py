"""A plan: the steps of a recipe, sweeps and seeds expanded, in an order that can be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bmc.onnx_models.finding import names_file


@dataclass(frozen=True)
class Step:
    """One call of a verb, whose inputs are results of other steps.

    Args:
        name: name of the step in the plan, which is unique, such as "pruned[ratio=0.5,seed=1]".
        verb: train, distill, prune, share, quantize or export.
        inputs: for each argument of the verb that is a model ("model", "teacher"), the name of the
            step that makes it. A model that exists already is an entry of `settings` instead.
        settings: every other setting as it was typed, by its name in the settings classes of the
            verb; a step of `export` has exactly one target.
    """

    name: str
    verb: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def makes_bundle(self) -> bool:
        """Whether the result is a bundle: of an export, and of any step of an ONNX file."""
        makes = self.verb == "export" or self.settings.get("target") is not None
        model = self.settings.get("model")
        return makes or (self.verb != "train" and bool(model) and names_file(str(model)))


@dataclass(frozen=True)
class Plan:
    """The steps of a recipe, and what follows when they are done.

    Args:
        name: name of the recipe.
        steps: each step stands after those whose results it takes.
        bench: names of the steps whose bundles are timed, in turn, at the end.
        gates: limits that every bundle must meet, as `bmc report --gate` reads them.
        measurement: settings of `bmc.workflows.options.Measurement` for the bench, by name.
        report: settings of `bmc.workflows.options.Reporting`, by name; None for no report.
    """

    name: str
    steps: tuple[Step, ...]
    bench: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    measurement: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] | None = field(default_factory=dict)
