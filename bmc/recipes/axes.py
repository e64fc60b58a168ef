"""The axes of sweeps: how they combine along the graph, and how many steps they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from bmc.recipes.graph import named_by
from bmc.recipes.recipe import RecipeStep
from bmc.recipes.vocabulary import models_of_verb

EVERYWHERE = ""
"""The owner of the axes of seeds and data."""
Axis = tuple[str, str]
"""The step that sweeps, EVERYWHERE for seeds and data, and the setting."""


@dataclass(frozen=True)
class _Form:
    """The points of a step that take the same steps.

    Args:
        models: the value of each axis whose values are models.
        sizes: the number of values of every other axis.
    """

    models: Mapping[Axis, Any]
    sizes: Mapping[Axis, int]


def joined_axes(
    own: Mapping[Axis, Any], taken: Iterable[Mapping[Axis, Any]]
) -> dict[Axis, Any] | None:
    """Return the axes of a step and of those that it takes; None where they differ in one."""
    joined: dict[Axis, Any] = {}
    for axes in (*taken, own):
        for axis, value in axes.items():
            if axis in joined and joined[axis] != value:
                return None
            joined[axis] = value
    return joined


def counts_of(
    ordered: Iterable[RecipeStep], sweeps: Callable[[RecipeStep], Mapping[Axis, tuple[Any, ...]]]
) -> dict[str, int]:
    """Return how many steps of the plan each step of a recipe becomes; none of them is made.

    Args:
        ordered: the steps, each after those that it takes.
        sweeps: returns the values of each sweep of a step.
    """
    forms: dict[str, list[_Form]] = {}
    for step in ordered:
        forms[step.name] = _forms(step, sweeps(step), forms)
    return {name: sum(prod(form.sizes.values()) for form in each) for name, each in forms.items()}


def _forms(
    step: RecipeStep, swept: Mapping[Axis, tuple[Any, ...]], forms: Mapping[str, list[_Form]]
) -> list[_Form]:
    names = models_of_verb(step.verb)
    by_model = {axis: values for axis, values in swept.items() if axis[1] in names}
    sizes = {axis: len(values) for axis, values in swept.items() if axis not in by_model}
    made = []
    for point in product(*by_model.values()):
        models = dict(zip(by_model, point, strict=True))
        chosen = {**step.values.fixed, **{name: value for (_, name), value in models.items()}}
        taken = [
            made_by
            for name in names
            if name in chosen
            for made_by in named_by(step, name, chosen[name], forms).steps.values()
        ]
        for combined in product(*(forms[name] for name in taken)):
            joined = joined_axes(models, [form.models for form in combined])
            if joined is not None:
                axes = {axis: size for form in combined for axis, size in form.sizes.items()}
                made.append(_Form(joined, {**axes, **sizes}))
    return made
