"""Show how a model or bundle was made: the command and settings of every step, scores, curves."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc import bundle as bundles
from bmc import curves, provenance, workspace
from bmc.description import describe, is_model_directory
from bmc.files import sha256

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Teacher:
    """Whom a model learned from.

    Args:
        name: name of the model directory.
        weights: first digits of the sha256 of the model's weights.
        commands: commands that made the model; empty if its directory was removed or replaced.
        more: name and first digits of the weights' sha256 of each further teacher.
    """

    name: str
    weights: str
    commands: tuple[str, ...]
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class MadeModel:
    """A model directory and how it was made.

    Args:
        path: the model directory.
        task: name of the task, such as "classification".
        labels: names of the classes.
        data: record of the training data in bmc.json.
        commands: commands that made the model, in order; equivalent commands if none are recorded.
        steps: method, settings, seed and seconds of each compression or distillation.
        teacher: the model's teacher; None for a model without one.
        scores: scores of the validation rows.
        history: for each epoch of the training its number, training loss and validation score.
    """

    path: Path
    task: str
    labels: tuple[str, ...]
    data: Mapping[str, Any]
    commands: tuple[str, ...]
    steps: tuple[Mapping[str, Any], ...]
    teacher: Teacher | None
    scores: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class MadeBundle:
    """A bundle and how it was made.

    Args:
        path: its folder.
        manifest: the checked manifest of the bundle.
        bytes: size of the model in its target's format.
        commands: commands that made the bundle, in order; only the export if none are recorded.
    """

    path: Path
    manifest: bundles.Manifest
    bytes: int
    commands: tuple[str, ...]


def show(reference: str | None) -> MadeModel | MadeBundle:
    """Return how a model or bundle was made.

    Args:
        reference: its folder, or its name in the workspace; the newest model when None.

    Raises:
        UnknownError: there is no such model or bundle.
        ArtifactError: it is damaged.
    """
    if reference is None:
        return _model(workspace.newest("model"))
    places = workspace.candidates(reference)
    if any(workspace.kind_of(path) == "bundle" for path in places):
        return _bundle(workspace.find(reference, "bundle"))
    return _model(workspace.find(reference, "model"))


def _model(folder: Path) -> MadeModel:
    manifest = describe(folder)
    origin = manifest["origin"]
    steps = tuple(_step(step) for step in manifest["steps"] if isinstance(step, dict))
    return MadeModel(
        path=folder,
        task=manifest["task"],
        labels=tuple(manifest["labels"]),
        data=manifest["data"],
        commands=tuple(provenance.commands_of(origin)) or _equivalent(origin, steps),
        steps=steps,
        teacher=_teacher(origin.get("teacher")),
        scores=manifest["scores"],
        history=curves.epochs_of(origin.get("history")),
    )


def _bundle(folder: Path) -> MadeBundle:
    bundle = bundles.read(folder)
    manifest = bundle.manifest
    export = shlex.join(["bmc", "export", manifest.name, "--target", manifest.target])
    commands = tuple(provenance.commands_of(manifest.lineage)) or (export,)
    return MadeBundle(folder, manifest, bundle.model_size(), commands)


def _step(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a step in bmc.json, without the record that rebuilds the step."""
    settings = step.get("settings")
    return {
        "method": str(step.get("method")),
        "settings": settings if isinstance(settings, dict) else {},
        "seed": step.get("seed"),
        "seconds": step.get("seconds"),
    }


def _equivalent(origin: Mapping[str, Any], steps: tuple[Mapping[str, Any], ...]) -> tuple[str, ...]:
    """Return commands that do the same, for a model that was made from Python."""
    lines = []
    if isinstance(origin.get("baseline"), str):
        lines.append(shlex.join(["bmc", "train", origin["baseline"]]))
    for step in steps:
        kind, _, method = step["method"].partition("/")
        if kind == "distill":
            student = str(origin.get("student", ""))
            lines.append(shlex.join(["bmc", "distill", "--student", student]))
            continue
        pairs = [f"{name}={_typed(value)}" for name, value in step["settings"].items()]
        words = [word for pair in pairs if not pair.endswith("=") for word in ("--set", pair)]
        lines.append(shlex.join(["bmc", kind, "--method", method, *words]))
    return tuple(lines)


def _typed(value: Any) -> str:
    """Return a setting as command-line text; "" for a value without a text form."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(part) for part in value)
    return str(value) if isinstance(value, int | float | str) else ""


def _teacher(recorded: object) -> Teacher | None:
    """Return a teacher; with its commands, if its model directory still has the same weights."""
    if not isinstance(recorded, dict):
        return None
    name, weights = str(recorded.get("name")), str(recorded.get("sha256"))
    folder = workspace.root() / workspace.slug(name)
    commands: tuple[str, ...] = ()
    if is_model_directory(folder) and sha256(folder / _WEIGHTS) == weights:
        commands = tuple(provenance.commands_of(describe(folder)["origin"]))
    beside = recorded.get("more")
    teachers = beside if isinstance(beside, list) else []
    more = tuple(
        (str(each.get("name")), str(each.get("sha256"))[:12])
        for each in teachers
        if isinstance(each, dict)
    )
    return Teacher(name, weights[:12], commands, more)
