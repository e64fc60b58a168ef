"""Recipes of the tests, and how they are read."""

from __future__ import annotations

from pathlib import Path

from bmc.recipes.expand import plan_of
from bmc.recipes.plan import Plan, Step
from bmc.recipes.reading import read_recipe

BASE = """\
data = "digits"

[steps.big]
verb = "train"
model = "mlp"
epochs = 1

[steps.small]
verb = "prune"
model = "big"
"""


def write(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    """Write a recipe, and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def plan(folder: Path, text: str, name: str = "recipe.toml") -> Plan:
    """Write a recipe, and return its plan."""
    return plan_of(read_recipe(write(folder, text, name)))


def by_name(planned: Plan) -> dict[str, Step]:
    """Return the steps of a plan by name."""
    return {step.name: step for step in planned.steps}
