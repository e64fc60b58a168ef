"""Split a step's settings among the settings classes of its verb; importing this is light."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from bmc.errors import SettingError, UsageError, unknown
from bmc.recipes.plan import Step
from bmc.recipes.verb_settings import TEACHER as TEACHER
from bmc.recipes.verb_settings import VERBS as VERBS
from bmc.recipes.verb_settings import Verb as Verb
from bmc.recipes.verb_settings import fields_of as fields_of
from bmc.settings import described
from bmc.workflows.settings import settings_from
from bmc.workflows.tuning import Tuning

_STORE_NAMES = {"output": "the recipe names the outputs", "force": "a step replaces nothing"}


@dataclass(frozen=True)
class Call:
    """A step's settings, split among the settings classes of its verb, and checked.

    Args:
        verb: name of the verb.
        models: the models that exist already, by the argument or field that names them.
        settings: an object of each settings class, in the order of `Verb.defaults`.
        changes: the settings that the step sets, by class, in the types that the class declares.
        target: the target of an export; "" for other verbs.
    """

    verb: str
    models: Mapping[str, str]
    settings: tuple[Any, ...]
    changes: Mapping[type, dict[str, Any]]
    target: str = ""

    def of(self, kind: type[Any]) -> Any:
        """Return the object of a settings class."""
        return next(each for each in self.settings if type(each) is kind)

    def own(self) -> Mapping[str, Any]:
        """Return the settings of the technique or the network, by name."""
        kind = VERBS[self.verb].own
        return self.of(kind).settings if kind else {}


def call_of(step: Step) -> Call:
    """Split a step's settings among the settings classes of its verb.

    A name that no class has belongs to the technique, or to the network, which refuses it if it
    has no such setting either.

    Args:
        step: the step.

    Raises:
        UnknownError: there is no such verb, setting or input.
        SettingError: a value is of another type, or out of range.
        UsageError: a model is missing, or named twice; an export names no target, or several.

    Example:
        >>> call = call_of(Step("half", "prune", {"model": "big"}, {"ratio": 0.5, "epochs": 1}))
        >>> call.of(Pruning).ratio, call.of(Tuning).epochs
        (0.5, 1)
    """
    verb = VERBS.get(step.verb)
    if verb is None:
        raise unknown("verb", step.verb, VERBS, f"step {step.name!r}")
    owners = _owners(step.verb)
    by_class: dict[type, dict[str, Any]] = {type(each): {} for each in verb.defaults}
    own: dict[str, Any] = {}
    models: dict[str, str] = {}
    target = ""
    for name, value in step.settings.items():
        typed = name.replace("-", "_")
        if typed in _STORE_NAMES:
            raise UsageError(f"step {step.name!r} sets {name}: {_STORE_NAMES[typed]}; leave it out")
        if typed in verb.models:
            models[typed] = str(value)
        elif step.verb == "export" and typed == "target":
            target = _target(step, value)
        elif typed in owners:
            by_class[owners[typed]][typed] = value
        elif verb.own is None:
            raise unknown(f"setting of {step.verb}", name, [*owners, *verb.models, "target"])
        else:
            own[name] = value
    if verb.own is not None and own:
        given = by_class[verb.own].get("settings", {})
        by_class[verb.own]["settings"] = {**given, **own}
    if step.verb == "export" and not target:
        raise UsageError(f'step {step.name!r} names no target: target = "onnx"')
    changes = {
        kind: settings_from(kind, _as_text(kind, values), step.verb)
        for kind, values in by_class.items()
    }
    _place_teacher(step, verb, changes)
    settings = tuple(replace(each, **changes[type(each)]) for each in verb.defaults)
    models.update(
        (name, str(value))
        for each in settings
        for name in verb.in_settings
        if (value := getattr(each, name, None)) and name not in step.inputs
    )
    _check_models(step, verb, models)
    usual = {name: at for name, at in verb.optional.items() if name not in step.inputs}
    return Call(step.verb, {**usual, **models}, settings, changes, target)


def teachers_of(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that are teachers: "teacher", and of several "teacher_2" and so on."""
    return {
        name: value
        for name, value in inputs.items()
        if name == TEACHER or name.startswith(f"{TEACHER}_")
    }


@functools.cache
def _owners(verb: str) -> dict[str, type]:
    """Return the settings class of each name, old names included."""
    owners: dict[str, type] = {}
    for each in VERBS[verb].defaults:
        for setting in described(type(each)).values():
            for name in filter(None, (setting.name, setting.alias)):
                owners.setdefault(name, type(each))
    return owners


def _as_text(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write numbers as text where a class declares a text, such as 2000 tokens of a vocabulary."""
    texts = _texts_of(kind)
    return {
        name: str(value)
        if name in texts and isinstance(value, Real) and not isinstance(value, bool)
        else value
        for name, value in values.items()
    }


@functools.cache
def _texts_of(kind: type) -> frozenset[str]:
    return frozenset(each.name for each in described(kind).values() if each.kind is str)


def _target(step: Step, value: object) -> str:
    """Return the one target of an export.

    Raises:
        UsageError: there are several.
        SettingError: it is not a text.
    """
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(type(name) is str for name in names):
        raise SettingError(f"step {step.name!r}: target is {value!r}; it must be a text")
    parts = [part.strip() for name in names for part in name.split(",") if part.strip()]
    if len(parts) > 1:
        raise UsageError(
            f"step {step.name!r} has {len(parts)} targets ({', '.join(parts)}): a step of export "
            "has one; write a step for each"
        )
    return parts[0] if parts else ""


def _place_teacher(step: Step, verb: Verb, changes: Mapping[type, dict[str, Any]]) -> None:
    """Say that a fine-tuning has a teacher which another step makes, before its path is known.

    Raises:
        UsageError: a model comes from a step, and is a setting as well.
    """
    for name in verb.in_settings:
        if name not in step.inputs:
            continue
        if any(name in of_class for of_class in changes.values()):
            raise _twice(step, name)
        if name == TEACHER:
            changes[Tuning][TEACHER] = ""


def _twice(step: Step, name: str) -> UsageError:
    return UsageError(
        f"step {step.name!r} has {name} both from a step and as a setting: leave one out"
    )


def _check_models(step: Step, verb: Verb, models: Mapping[str, str]) -> None:
    """Refuse a model that is missing or that is named twice.

    Raises:
        UnknownError: an input is no argument of the verb.
        UsageError: a model is missing, or is both an input and a setting.
    """
    possible = (*verb.models, *verb.in_settings)
    for name in step.inputs:
        is_further = step.verb == "distill" and name in teachers_of(step.inputs)
        if name not in possible and not is_further:
            raise unknown(f"input of {step.verb}", name, possible, f"step {step.name!r}")
        if name in models:
            raise _twice(step, name)
    for name in verb.models:
        if name not in step.inputs and name not in models and name not in verb.optional:
            raise UsageError(
                f"step {step.name!r} names no {name}: {step.verb} needs a step that makes it, or "
                "a model that exists"
            )
