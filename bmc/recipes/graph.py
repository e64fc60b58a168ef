"""Which steps a step of a recipe takes, and an order in which all can be run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bmc import workspace
from bmc.contracts import families
from bmc.errors import UnknownError, UsageError, unknown
from bmc.recipes.recipe import Recipe, RecipeStep
from bmc.recipes.vocabulary import models_of_verb

_TEACHER = "teacher"


@dataclass(frozen=True)
class Named:
    """The models that one value of a setting names.

    Args:
        steps: the steps that make them, by the argument of the verb; several teachers are
            "teacher", "teacher_2" and so on.
        exists: whether the value names models that are no steps.
    """

    steps: Mapping[str, str]
    exists: bool


def in_order(recipe: Recipe) -> tuple[RecipeStep, ...]:
    """Return the steps of a recipe, each after those that it takes.

    Raises:
        UsageError: the steps have a cycle, or a step lacks a model.
        UnknownError: a setting names neither a step nor a model.
    """
    steps = {step.name: step for step in recipe.steps}
    done: dict[str, RecipeStep] = {}

    def visit(step: RecipeStep, path: tuple[str, ...]) -> None:
        if step.name in path:
            cycle = (*path[path.index(step.name) :], step.name)
            said = " needs ".join(cycle)
            raise UsageError(f"{step.place} is in a cycle of steps: {said}; break it")
        if step.name in done:
            return
        for name in _taken(step, steps):
            visit(steps[name], (*path, step.name))
        done[step.name] = step

    for step in recipe.steps:
        _check_models(step)
        visit(step, ())
    return tuple(done.values())


def named_by(step: RecipeStep, setting: str, value: str, steps: Iterable[str]) -> Named:
    """Return the models that a value of a setting names.

    Args:
        step: the step that has the setting.
        setting: "model", "teacher" or "student".
        value: name of a step, or of a model; several teachers have commas between them.
        steps: names of all steps.

    Raises:
        UsageError: some of several teachers are steps and others are not.
        UnknownError: there is neither such a step nor such a model.
    """
    known = {name for name in steps if name != step.name}
    several = setting == _TEACHER and step.verb == "distill" and value not in known
    names = [part.strip() for part in value.split(",")] if several else [value]
    made = [name for name in names if name in known]
    if not made:
        for name in names:
            _check_exists(step, setting, name, known)
        return Named({}, True)
    if len(made) < len(names):
        other = next(name for name in names if name not in known)
        raise UsageError(
            f"{step.place.at(setting)} is {value!r}: {made[0]} is a step and {other} is not; name "
            "steps alone, or models that exist alone"
        )
    keys = [setting, *(f"{setting}_{number}" for number in range(2, len(made) + 1))]
    return Named(dict(zip(keys, made, strict=True)), False)


def _taken(step: RecipeStep, steps: Iterable[str]) -> list[str]:
    """Return the names of all steps that a step takes."""
    return [
        name
        for setting in models_of_verb(step.verb)
        for value in step.values.possible(setting)
        for name in named_by(step, setting, value, steps).steps.values()
    ]


def _check_models(step: RecipeStep) -> None:
    """Refuse a step that lacks a model, a teacher or a target.

    Raises:
        UsageError: it does.
    """
    needed = {"distill": ("teacher",), "train": (), "export": ("model", "target")}
    for name in needed.get(step.verb, ("model",)):
        if not step.values.possible(name):
            example = "'onnx'" if name == "target" else "the name of a step"
            raise UsageError(f"{step.place} has no {name}: {name} = {example}")


def _check_exists(step: RecipeStep, setting: str, name: str, steps: Iterable[str]) -> None:
    """Refuse a name that is neither a step nor a model.

    Raises:
        UsageError: it is a built-in model, which must be trained before it teaches, or the name
            of the step itself, which stands for a model that exists.
        UnknownError: it is neither.
    """
    if setting == "student" and (name in families.students() or families.is_reference(name)):
        return
    if any(path.exists() for path in workspace.candidates(name)):
        return
    if setting == _TEACHER and (name in families.baselines() or name.startswith("hf:")):
        raise UsageError(
            f"{step.place.at(setting)} is {name!r}, a model that is not trained: add a step with "
            f"verb = 'train' and model = {name!r}, and name that step"
        )
    if name == step.name:
        raise UsageError(f"{step.place} is in a cycle of steps: {name} needs {name}; break it")
    built_in = families.students() if setting == "student" else ()
    models = (path.name for path in workspace.entries("model"))
    known = [*steps, *built_in, *models]
    raise UnknownError(f"{step.place.at(setting)}: {unknown('step or model', name, known)}")
