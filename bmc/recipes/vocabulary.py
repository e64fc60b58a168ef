"""Which settings a step of a recipe may have: those of its verb, its technique or its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmc import plugins
from bmc.choices import of_plugins
from bmc.contracts import families
from bmc.contracts.declared import declared
from bmc.contracts.targets import TARGETS
from bmc.contracts.techniques import technique, techniques
from bmc.recipes.verbs import VERBS
from bmc.settings import Setting, described

OWN = "settings"
"""Name of the table with the settings of a technique or a network."""
TECHNIQUES = ("prune", "share", "quantize")
_NOT_IN_RECIPES = ("output", "force", OWN)  # the store names the outputs
_TEXTS = {
    "model": "a step that makes the model, a model directory or its name in the workspace, the "
    "folder of a sentence encoder, or an ONNX file.",
    "baseline": "the name of a built-in model (bmc models lists all), a Hugging Face folder, "
    "hf:org/name@revision, timm:NAME, or python:module:function (runs your code).",
    "teacher": "a step that makes the teacher, a model directory or a bundle, or the name of "
    "either in the workspace. Several, separated by commas, teach by the mean of their "
    "predictions.",
    "target": "target runtime.",
}


def settings_of_verb(verb: str) -> dict[str, Setting]:
    """Return the settings of a verb by name, those that name a model first.

    Args:
        verb: a key of `VERBS`.
    """
    names = {name: Setting(name, str, "", _text(verb, name)) for name in VERBS[verb].models}
    if verb == "export":
        choice = of_plugins(TARGETS)
        names["target"] = Setting("target", str, "", _TEXTS["target"], choice=choice)
    for each in VERBS[verb].defaults:
        for setting in described(type(each)).values():
            if setting.name not in _NOT_IN_RECIPES:
                names.setdefault(setting.name, setting)
    return names


def models_of_verb(verb: str) -> tuple[str, ...]:
    """Return the settings of a verb that may name a step."""
    return () if verb == "train" else (*VERBS[verb].models, *VERBS[verb].in_settings)


def key_of_own(verb: str) -> tuple[str, str]:
    """Return the setting that chooses a technique or network, and its default; "" for export."""
    if verb in TECHNIQUES:
        return "method", str(settings_of_verb(verb)["method"].default)
    return {"train": ("model", "bert"), "distill": ("student", "tiny")}.get(verb, ("", ""))


def own_settings(verb: str, name: str) -> Mapping[str, Setting] | None:
    """Return the settings of a technique or a network by name; None where they are not known yet.

    The settings of a Hugging Face folder, for example, depend on its files.

    Args:
        verb: a key of `VERBS`.
        name: the technique, the model that is trained, or the student.
    """
    if verb in TECHNIQUES:
        known = techniques(verb)
        if name in plugins.names(f"bmc.compress.{verb}"):
            return declared(verb, name)
        return described(technique(f"{verb}/{name}").step) if name in known.names() else None
    students = families.students() if verb == "distill" else {}
    if name in students:
        return described(type(students[name]))
    owner = families.baselines().get(name) or families.of_prefix(name)
    return described(families.family(owner).settings) if owner else None


def _text(verb: str, name: str) -> Any:
    return _TEXTS["baseline" if (verb, name) == ("train", "model") else name]
