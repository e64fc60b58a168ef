"""The JSON Schema of a recipe, by which an editor completes names and marks errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from typing import Any

from bmc.contracts import families
from bmc.contracts.techniques import techniques
from bmc.recipes.reading import (
    EXPORTED,
    GATES,
    KEYS,
    NAME,
    NOT_REPORTING,
    SEEDS,
    TARGET_LIST,
)
from bmc.recipes.tables import SWEEP
from bmc.recipes.values import adapter_of
from bmc.recipes.verbs import VERBS
from bmc.recipes.vocabulary import (
    OWN,
    TECHNIQUES,
    key_of_own,
    models_of_verb,
    own_settings,
    settings_of_verb,
)
from bmc.settings import Setting, described
from bmc.workflows.data import DataSource
from bmc.workflows.options import Measurement, Reporting

_STEPS = "#/definitions/"
_OF_STEPS = ("model", "target")  # `targets` sets them
_TEXTS = {
    "name": "name of the recipe; the default is the file's.",
    "data": "data of every step of train and distill that names none: a name, a file, or a table "
    "with the columns, the task and the fold.",
    "steps": "steps by name. A step names the steps that it takes: model = 'bert'.",
    "export": "settings of the exports that `targets` asks for.",
    "bench": "how the bundles are timed, in turn, when all steps are done; false for not at all.",
    "report": "what the report compares the bundles by; false for no report.",
    "verb": "what the step does.",
    OWN: "settings of the technique or the network, as --set NAME=VALUE.",
    SWEEP: "settings to sweep over, each with a list of values; needed for settings that are "
    "lists themselves.",
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe, with the plug-ins that are installed.

    Example:
        >>> from jsonschema import validate
        >>> validate({"steps": {"small": {"verb": "prune", "model": "big"}}}, schema())
    """
    data, bench, report = described(DataSource), described(Measurement), described(Reporting)
    report = {name: each for name, each in report.items() if name not in NOT_REPORTING}
    data_table = _table({name: _swept(_value(each)) for name, each in data.items()})
    exports = {
        name: each for name, each in settings_of_verb("export").items() if name not in _OF_STEPS
    }
    properties: dict[str, dict[str, Any]] = {
        "name": {"type": "string"},
        "data": {"anyOf": [{"type": "string"}, _list({"type": "string"}), data_table]},
        "seeds": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        "steps": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": {
                "oneOf": [{"$ref": f"#/definitions/{verb}"} for verb in VERBS]
            },
        },
        "targets": _value(TARGET_LIST),
        "export": _table(
            {
                "steps": _value(EXPORTED),
                **{name: _swept(_value(each)) for name, each in exports.items()},
                SWEEP: _sweeps(exports),
            }
        ),
        "bench": _or_false(_table({name: _value(each) for name, each in bench.items()})),
        "report": _or_false(
            _table(
                {name: _value(each) for name, each in report.items() if name not in NOT_REPORTING}
            )
        ),
        "gates": _value(GATES),
    }
    texts = {**_TEXTS, "seeds": SEEDS.text, "targets": TARGET_LIST.text, "gates": GATES.text}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "bmc recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["steps"],
        "properties": {name: _with_text(properties[name], texts[name]) for name in KEYS},
        "definitions": {verb: _step(verb) for verb in VERBS},
    }


def _step(verb: str) -> dict[str, Any]:
    """Return the schema of a step."""
    known, models = settings_of_verb(verb), models_of_verb(verb)
    chooser, default = key_of_own(verb)
    owners = {name: own_settings(verb, name) or {} for name in _owners(verb)}
    united = _united(owners.values())
    properties = {"verb": _with_text({"const": verb}, _TEXTS["verb"])}
    properties |= {name: _swept(_value(each, name in models)) for name, each in known.items()}
    sweeps = _sweeps(known, models)
    step: dict[str, Any] = _table(properties)
    needed = [name for name in VERBS[verb].models if verb != "train"]
    step["required"] = ["verb", *needed, *(["target"] if verb == "export" else [])]
    if chooser:
        free = verb not in TECHNIQUES  # the settings of a folder's network are its own
        properties[OWN] = _table({name: _swept(each) for name, each in united.items()}, free)
        sweeps["properties"][OWN] = _table(
            {name: _list(each) for name, each in united.items()}, free
        )
        properties[OWN]["description"] = _TEXTS[OWN]
        step["allOf"] = [
            _when(chooser, name, name == default, settings) for name, settings in owners.items()
        ]
    properties[SWEEP] = _with_text(sweeps, _TEXTS[SWEEP])
    return step


def _united(owners: Iterable[Mapping[str, Setting]]) -> dict[str, dict[str, Any]]:
    """Return the schema of each setting that some technique or network has."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    texts: dict[str, str] = {}
    for settings in owners:
        for name, setting in settings.items():
            kind = _typed(_value(setting))
            texts.setdefault(name, setting.text)
            if kind not in kinds.setdefault(name, []):
                kinds[name].append(kind)
    return {
        name: _with_text(each[0] if len(each) == 1 else {"anyOf": each}, texts[name])
        for name, each in kinds.items()
    }


def _owners(verb: str) -> list[str]:
    """Return the names of the techniques or networks that have settings."""
    if verb in TECHNIQUES:
        return techniques(verb).names()
    if verb not in ("train", "distill"):
        return []
    students = sorted(families.students()) if verb == "distill" else []
    return [*students, *(name for name in sorted(families.baselines()) if name not in students)]


def _when(chooser: str, name: str, is_default: bool, own: Iterable[str]) -> dict[str, Any]:
    """Return which settings a step may have, when it names a technique or network."""
    named: dict[str, Any] = {"properties": {chooser: {"const": name}}}
    if not is_default:
        named["required"] = [chooser]
    return {
        "if": named,
        "then": {"properties": {OWN: {"propertyNames": {"enum": sorted(own)}}}},
    }


def _value(setting: Setting, names_model: bool = False) -> dict[str, Any]:
    """Return the schema of one value of a setting."""
    value: dict[str, Any] = dict(adapter_of(setting, names_model).json_schema())
    default = setting.default
    if default is not None and default is not MISSING and default not in ("", (), {}):
        value["default"] = str(default) if setting.kind is str else _plain(default)
    return _with_text(value, setting.text)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _with_text(value: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {**value, "description": text} if text else dict(value)


def _swept(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a setting: one value, or where it is no list, also a list of them."""
    single = _typed(value)
    about = {key: entry for key, entry in value.items() if key not in single}
    if {"type": "array"}.items() <= single.items() or single.get("type") == "object":
        return value
    if any(each.get("type") == "array" for each in single.get("anyOf", ())):
        return value
    return {"anyOf": [single, _list(single)], **about}


def _typed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without its text and its default."""
    return {key: entry for key, entry in value.items() if key not in ("description", "default")}


def _list(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _typed(value), "minItems": 1, "uniqueItems": True}


def _sweeps(known: Mapping[str, Setting], models: Iterable[str] = ()) -> dict[str, Any]:
    lists = {name: _list(_value(each, name in models)) for name, each in known.items()}
    return {**_table(lists), "minProperties": 1}


def _table(properties: dict[str, Any], free: bool = False) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": free}


def _or_false(value: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [value, {"type": "boolean"}]}


def schema_text() -> str:
    """Return the schema as `bmc recipe schema` prints it, with a newline at its end."""
    return json.dumps(schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
