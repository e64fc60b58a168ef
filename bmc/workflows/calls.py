"""Record in bmc.json, with all settings, the calls of verbs that made a model.

From these records `bmc show MODEL --recipe` writes the recipe of the model. The record of a model
that was taught has those of its teachers in it: their folders may be gone when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc.contracts.tasks import EMBEDDING
from bmc.workflows.data import DataSource
from bmc.workflows.lineage import described, is_bundle, weights_sha256

KEY = "calls"
"""Key of the calls in a model's origin."""


def train_call(
    name: str,
    reference: str,
    options: Mapping[str, Any],
    training: Mapping[str, Any],
    source: DataSource,
) -> dict[str, Any]:
    """Return the record of a training.

    Args:
        name: name of the folder that it wrote.
        reference: the model, as `bmc train` takes it.
        options: all settings of the network.
        training: all settings of the training; an encoder of sentences is only read.
        source: the data.
    """
    used = {} if source.task == EMBEDDING else training
    settings = {"model": reference, **used, **_data(source)}
    return _call("train", name, settings, options)


def distill_call(
    name: str,
    student: Mapping[str, Any],
    settings: Mapping[str, Any],
    source: DataSource,
    teachers: Sequence[Path],
    start: Path | None,
) -> dict[str, Any]:
    """Return the record of a distillation.

    Args:
        name: name of the folder that it wrote.
        student: all settings of the student's network.
        settings: all settings of the student and of its training.
        source: the data.
        teachers: folders of the teachers.
        start: folder of the model that the student starts from; None for a new network.
    """
    sizes = ("layers", "hidden", "heads", "settings")  # `student` has them
    used = {key: value for key, value in settings.items() if key not in sizes}
    call = _call("distill", name, {**used, **_data(source)}, student)
    call["teachers"] = [made(folder) for folder in teachers]
    return {**call, "start": made(start)} if start else call


def step_call(
    verb: str,
    name: str,
    method: str,
    options: Mapping[str, Any],
    tuning: Mapping[str, Any],
    teacher: Path | None,
) -> dict[str, Any]:
    """Return the record of a compression.

    Args:
        verb: prune, share or quantize.
        name: name of the folder that it wrote.
        method: the technique.
        options: all settings of the technique; a ratio that was searched is the one found.
        tuning: all settings of the fine-tuning.
        teacher: folder of another model as teacher; None for none.
    """
    used = {key: value for key, value in tuning.items() if key != "teacher"}
    call = _call(verb, name, {"method": method, **used}, options)
    return {**call, "teachers": [made(teacher)]} if teacher else call


def made(folder: Path) -> dict[str, Any]:
    """Return name, weights and calls of a model; a bundle records no calls."""
    calls = [] if is_bundle(folder) else described(folder)["origin"].get(KEY, [])
    return {
        "name": folder.name,
        "sha256": weights_sha256(folder),
        "bundle": is_bundle(folder),
        KEY: calls if isinstance(calls, list) else [],
    }


def _call(
    verb: str, name: str, settings: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "verb": verb,
        "name": name,
        "settings": {**_without_none(settings), "settings": _without_none(own)},
    }


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None
    }


def _data(source: DataSource) -> dict[str, Any]:
    fold = f"{source.fold.number}/{source.fold.of}" if source.fold else None
    return {
        "data": source.data,
        "text_column": source.text_column,
        "label_column": source.label_column,
        "task": source.task,
        "features": source.features,
        "fold": fold,
    }
