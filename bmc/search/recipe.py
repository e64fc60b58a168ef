"""The recipe of a winner: its steps, as `bmc run` runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bmc.recipes.expand import plan_of
from bmc.recipes.plan import Step
from bmc.recipes.reading import recipe_from
from bmc.recipes.toml import toml_of
from bmc.recipes.verbs import fields_of


def text_of(name: str, words: str, steps: Sequence[Step], target: str) -> str:
    """Return the recipe of a candidate as TOML; its first step takes a model that exists.

    Args:
        name: name of the recipe.
        words: the candidate in words.
        steps: its steps, in order.
        target: the target of its bundle.

    Raises:
        BmcError: the steps make no recipe.
    """
    document: dict[str, Any] = {
        "targets": [target],
        "steps": {step.name: _table(step) for step in steps},
        "export": {"allow_slower": True},
    }
    plan_of(recipe_from(document, name))
    return f"# {name}: {words}\n\n{toml_of(document)}"


def _table(step: Step) -> dict[str, Any]:
    """Return a step as a recipe has it; what belongs to the technique stands apart."""
    known = {*fields_of(step.verb), "model", "teacher"}
    plain = {key: _plain(value) for key, value in step.settings.items() if key in known}
    own = {key: _plain(value) for key, value in step.settings.items() if key not in known}
    return {"verb": step.verb, **step.inputs, **plain, **({"settings": own} if own else {})}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
