"""The key of a step's result: a hash of everything that the result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmc import workspace
from bmc.contracts import families
from bmc.errors import UsageError
from bmc.folds import Fold
from bmc.onnx_models.finding import names_file
from bmc.recipes.code_version import code_of, packages_of
from bmc.recipes.content import Hashes, built_by, each_of, of_code, of_data, of_model
from bmc.recipes.plan import Step
from bmc.recipes.plugin_versions import plugins_of
from bmc.recipes.verbs import TEACHER, VERBS, Call, call_of
from bmc.training.settings import WITHOUT_EFFECT, TrainingSettings
from bmc.trust import named, names_of, trusted
from bmc.workflows.options import OwnCode

_SCHEMA = 1
_WITHOUT_EFFECT = ("output", "force", *WITHOUT_EFFECT)
_DATA = ("data", "transfer", "samples")
_OWN_CODE = "python:"


def key_of(step: Step, input_keys: Mapping[str, str], hashes: Hashes | None = None) -> str:
    """Return the key of a step's result, 64 hexadecimal digits; no torch is imported.

    It is the sha256 of the verb, all its settings with their defaults, the keys of its inputs, the
    content of the data files and models that it names, its code (see `bmc.recipes.code_version`)
    and that of its plug-ins, and the versions of the packages that it computes with. Two steps with
    the same key have the same result. Data sets and models that are named by a name of bmc or of a
    hub count by this name.

    Args:
        step: the step.
        input_keys: key of each input, by the argument of the verb.
        hashes: hashes of files; new ones when None.

    Raises:
        UnknownError: there is no such verb, setting or model.
        SettingError: a setting is of another type, or out of range.
        UsageError: a baseline is the teacher: the result would depend on what the workspace has.

    Example:
        >>> step = Step("small", "train", settings={"model": "mlp", "data": "digits"})
        >>> len(key_of(step, {}))
        64
    """
    call = call_of(step)
    hashes = Hashes() if hashes is None else hashes
    models = {name: _model(step, name, at, hashes) for name, at in call.models.items()}
    is_file = step.verb != "train" and names_file(call.models.get("model", ""))
    references = [*call.models.values(), *_data_named(call).values()]
    parts = {
        "schema": _SCHEMA,
        "verb": call.verb,
        "target": call.target,
        "settings": _settings_of(call),
        "inputs": dict(sorted(input_keys.items())),
        "models": models,
        "data": _data_of(call, hashes),
        "own_code": _own_code_of(call, hashes),
        "code": code_of(call.verb, is_file),
        "packages": packages_of(call.verb, call.target, is_file, references),
        "plugins": plugins_of(call),
    }
    text = json.dumps(parts, sort_keys=True, default=_as_json)
    return hashlib.sha256(text.encode()).hexdigest()


def _settings_of(call: Call) -> dict[str, Any]:
    """Return all settings by class and name; those of a training are what differs from a recipe."""
    settings: dict[str, Any] = {}
    for each in call.settings:
        kind = type(each)
        values = dict(call.changes[kind]) if kind is TrainingSettings else asdict(each)
        for name in (*_WITHOUT_EFFECT, *VERBS[call.verb].in_settings):
            if name == TEACHER or name in call.models or name in _WITHOUT_EFFECT:
                values.pop(name, None)
        if "settings" in values:
            values["settings"] = {
                name.replace("-", "_"): _text(value) for name, value in values["settings"].items()
            }
        settings[kind.__name__] = values
    return settings


def _model(step: Step, argument: str, reference: str, hashes: Hashes) -> str:
    """Return what identifies a model that a step names: its content, or its name.

    Raises:
        UsageError: it is a baseline that would have to be trained first.
        UnknownError: there is no such model.
    """
    is_name = reference in families.baselines() or families.of_prefix(reference) is not None
    is_name = is_name or reference.startswith("hf:")
    if argument == "student":
        is_name = is_name or families.of_student(reference) is not None
    if argument == TEACHER:
        names = each_of(reference)
        for name in names:
            if name in families.baselines() or name.startswith("hf:"):
                raise UsageError(
                    f"step {step.name!r} is taught by {name}, which is not a trained "
                    "model: add a step that trains it, and name that step as the teacher"
                )
        return " ".join(of_model(name, hashes) for name in names)
    is_built = argument == "student" or not _is_in_workspace(reference)
    if is_name and argument in ("model", "student") and (step.verb == "train" or is_built):
        return f"name {reference}"
    return of_model(reference, hashes)


def _is_in_workspace(reference: str) -> bool:
    """Tell whether a model directory has this path, or this name in the workspace."""
    paths = workspace.candidates(reference)
    return any(workspace.kind_of(path) == "model" for path in paths)


def _data_of(call: Call, hashes: Hashes) -> dict[str, str]:
    """Return the content of the data files that the settings name, by the setting.

    A setting of a network or technique may name a file, too, such as that of word vectors.
    """
    typed = {f"settings.{name}": value for name, value in call.own().items()} | _data_named(call)
    contents = {
        name: of_data(value, hashes) for name, value in typed.items() if isinstance(value, str)
    }
    return {name: content for name, content in contents.items() if content is not None}


def _data_named(call: Call) -> dict[str, str]:
    """Return the data that the settings name, by the setting."""
    typed = ((name, getattr(each, name, None)) for each in call.settings for name in _DATA)
    return {name: value for name, value in typed if isinstance(value, str)}


def _own_code_of(call: Call, hashes: Hashes) -> list[str]:
    names = names_of(call.of(OwnCode).code)
    names += [named(name) for name in call.models.values() if name.startswith(_OWN_CODE)]
    of_models = (
        built_by(name)[1] for reference in call.models.values() for name in each_of(reference)
    )
    names += [name for name in of_models if name in trusted()]  # others are not run
    return [of_code(name, hashes) for name in dict.fromkeys(names)]


def _text(value: object) -> str:
    """Return a value as it is typed: the technique, which reads it, is not imported here."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_json(value: object) -> str:
    if isinstance(value, Fold):
        return f"{value.number}/{value.of}"
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")
