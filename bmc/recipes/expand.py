"""Expand a recipe into a plan: a step for each point of the sweeps, and for each seed.

A step that takes a swept step is made for each of its points. Two inputs that come from one sweep
are paired by its value: the student of the teacher with ratio 0.5 is compared with that teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from bmc.errors import BmcError, UsageError
from bmc.recipes.axes import EVERYWHERE, Axis, counts_of, joined_axes
from bmc.recipes.graph import in_order, named_by
from bmc.recipes.plan import Plan, Step
from bmc.recipes.recipe import Place, Recipe, RecipeStep
from bmc.recipes.verbs import call_of
from bmc.recipes.vocabulary import OWN, models_of_verb, settings_of_verb

MOST_STEPS = 200
"""Steps of a plan above which `bmc run` asks for --yes."""
_LIMIT = 2_000_000
_DATA, _SEED = "data", "seed"


@dataclass(frozen=True)
class _Variant:
    """One point of the sweeps of a step and of those that it takes."""

    axes: Mapping[Axis, Any]
    settings: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, int]]  # step, and index of its variant


def plan_of(recipe: Recipe, most: int | None = MOST_STEPS) -> Plan:
    """Return the plan of a recipe.

    Args:
        recipe: the recipe.
        most: steps of a plan at most; None for two million.

    Raises:
        UsageError: the steps have a cycle, a step lacks a model or data, two steps have
            one name, or the plan has more steps.
        UnknownError: a setting names neither a step nor a model.
        SettingError: a value is out of its range.

    Example:
        >>> plan = plan_of(read_recipe("recipe.toml"))
        >>> [step.name for step in plan.steps]
    """
    ordered = in_order(recipe)
    _check_count(ordered, recipe, _LIMIT if most is None else most)
    variants: dict[str, list[_Variant]] = {}
    for step in ordered:
        variants[step.name] = list(_variants(step, recipe, variants))
    names = _names(ordered, variants, recipe)
    steps = tuple(
        _planned(step, index, variants[step.name], names)
        for step in ordered
        for index in range(len(variants[step.name]))
    )
    exports = tuple(step.name for step in steps if step.makes_bundle)
    return Plan(
        recipe.name,
        steps,
        () if recipe.bench is None else exports,
        recipe.gates,
        recipe.bench or {},
        recipe.report,
    )


def _check_count(ordered: tuple[RecipeStep, ...], recipe: Recipe, most: int) -> None:
    """Refuse more steps than are made without asking, and more than are made at all.

    Raises:
        UsageError: there are more.
    """
    counts = counts_of(ordered, lambda step: _sweeps(step, recipe)[1])
    count = sum(counts.values())
    if count <= min(most, _LIMIT):
        return
    largest = max(counts, key=lambda name: counts[name])
    said = (
        f"{most:,} are made without asking: --yes accepts them"
        if count <= _LIMIT
        else f"{_LIMIT:,} are the most: sweep over fewer values"
    )
    raise UsageError(
        f"{recipe.place} makes {count:,} steps ({largest} alone {counts[largest]:,}), and {said}"
    )


def _variants(
    step: RecipeStep, recipe: Recipe, variants: Mapping[str, list[_Variant]]
) -> Iterator[_Variant]:
    """Yield a variant for each point of a step's sweeps and of those of the steps it takes."""
    fixed, swept = _sweeps(step, recipe)
    for point in product(*swept.values()):
        axes = dict(zip(swept, point, strict=True))
        settings = {**fixed, **{name: value for (_, name), value in axes.items()}}
        inputs: dict[str, str] = {}
        for name in models_of_verb(step.verb):
            if name in settings:
                named = named_by(step, name, settings[name], variants)
                inputs.update(named.steps)
                if not named.exists:
                    del settings[name]
        for chosen in product(*(range(len(variants[name])) for name in inputs.values())):
            taken = dict(zip(inputs, zip(inputs.values(), chosen, strict=True), strict=True))
            joined = joined_axes(
                axes, [variants[name][index].axes for name, index in taken.values()]
            )
            if joined is not None:
                yield _Variant(joined, settings, taken)


def _sweeps(step: RecipeStep, recipe: Recipe) -> tuple[dict[str, Any], dict[Axis, tuple[Any, ...]]]:
    """Return a step's settings, and the values of each of its sweeps, seeds and data included.

    Raises:
        UsageError: the step needs data, and there is none.
    """
    fixed = dict(step.values.fixed)
    swept: dict[Axis, tuple[Any, ...]] = {
        (step.name, name): values for name, values in step.values.swept.items()
    }
    if step.verb in ("train", "distill") and not step.values.possible(_DATA):
        if not recipe.data.possible(_DATA):
            raise UsageError(
                f"{step.place} has no data, and {recipe.place} names none: data = 'movie-reviews'"
            )
        own = {*fixed, *step.values.swept}
        swept |= {
            (EVERYWHERE, name): values
            for name, values in recipe.data.swept.items()
            if name not in own
        }
        fixed = {**recipe.data.fixed, **fixed}
    if recipe.seeds and _SEED in settings_of_verb(step.verb) and not step.values.possible(_SEED):
        swept[EVERYWHERE, _SEED] = recipe.seeds
    return fixed, swept


def _names(
    steps: tuple[RecipeStep, ...], variants: Mapping[str, list[_Variant]], recipe: Recipe
) -> dict[str, list[str]]:
    """Return the name of each variant of each step, such as "pruned[ratio=0.5,seed=1]".

    Raises:
        UsageError: two have one name.
    """
    names: dict[str, list[str]] = {}
    seen: set[str] = set()
    for step in steps:
        names[step.name] = []
        for variant in variants[step.name]:
            axes = sorted(variant.axes, key=lambda axis: axis[0] == EVERYWHERE)
            labels = [f"{_label(step, axis)}={_shown(variant.axes[axis])}" for axis in axes]
            name = f"{step.name}[{','.join(labels)}]" if labels else step.name
            if name in seen:
                raise UsageError(f"{recipe.place}: two steps are named {name}; rename one of them")
            seen.add(name)
            names[step.name].append(name)
    return names


def _label(step: RecipeStep, axis: Axis) -> str:
    owner, setting = axis
    setting = setting.removeprefix(f"{OWN}.") if setting != f"{OWN}.epochs" else setting
    return setting if owner in (EVERYWHERE, step.name, step.of) else f"{owner}.{setting}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "+".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _planned(
    step: RecipeStep, index: int, variants: list[_Variant], names: Mapping[str, list[str]]
) -> Step:
    """Return a variant as a step of the plan; its settings are checked.

    Raises:
        SettingError: a value is out of its range; the message has the place.
    """
    variant = variants[index]
    inputs = {key: names[name][at] for key, (name, at) in variant.inputs.items()}
    settings: dict[str, Any] = {}
    for name, value in variant.settings.items():
        table, _, own = name.partition(f"{OWN}.")
        if table:
            settings[name] = value
        else:
            settings.setdefault(OWN, {})[own] = value
    planned = Step(names[step.name][index], step.verb, inputs, settings)
    try:
        call_of(planned)
    except BmcError as error:
        raise type(error)(f"{place_of(step, str(error))}: {error}") from error
    return planned


def place_of(step: RecipeStep, message: str = "") -> Place:
    """Return the place of the setting that an error's message begins with, else the step's."""
    known = {*step.values.fixed, *step.values.swept}
    for name in sorted(known, key=len, reverse=True):
        own = name.removeprefix(f"{OWN}.")
        if message.startswith((f"{own.replace('_', ' ')} is ", f"{own} is ")):
            return step.place.at(*name.split("."))
    return step.place


def source_of(recipe: Recipe, name: str) -> RecipeStep:
    """Return the step of a recipe that a step of its plan comes from.

    Args:
        recipe: the recipe.
        name: name of a step of its plan, such as "pruned[ratio=0.5]".
    """
    return next(step for step in recipe.steps if step.name == name.partition("[")[0])
