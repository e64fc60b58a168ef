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
        name: of its model directory.
        weights: the first digits of its weights' sha256.
        commands: that made it; none where it is gone, or was made anew since.
    """

    name: str
    weights: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class MadeModel:
    """A model directory and how it was made.

    Args:
        path: the model directory.
        task: "classification", "regression" or "generation".
        labels: of the classes.
        data: the record of its data in bmc.json.
        commands: that made it, the first one first; equivalent ones where none are recorded.
        steps: method, settings, seed and seconds of each compression or distillation.
        teacher: whom it learned from; None without one.
        scores: of the validation rows.
        history: of its training: for each epoch its number, training loss and validation score.
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
        manifest: what it says of itself, checked.
        bytes: of the model in its target's format.
        commands: that made it, the first one first; the export alone where none are recorded.
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
    places = (Path(reference), workspace.root() / reference)
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
    """Return what bmc.json says of a step, without the record from which it is built again."""
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
    """Return a setting as it is typed; "" where it cannot be, or need not."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(part) for part in value)
    return str(value) if isinstance(value, int | float | str) else ""


def _teacher(recorded: object) -> Teacher | None:
    """Return a teacher, with its commands where its model directory still has those weights."""
    if not isinstance(recorded, dict):
        return None
    name, weights = str(recorded.get("name")), str(recorded.get("sha256"))
    folder = workspace.root() / workspace.slug(name)
    commands: tuple[str, ...] = ()
    if is_model_directory(folder) and sha256(folder / _WEIGHTS) == weights:
        commands = tuple(provenance.commands_of(describe(folder)["origin"]))
    return Teacher(name, weights[:12], commands)
