"""Baselines: models that bmc builds by name and trains on some data."""

from __future__ import annotations

import ast
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, console, models, plugins, workspace
from bmc.data import Dataset
from bmc.errors import DataError, unknown
from bmc.model import Model
from bmc.training.identity import start_of
from bmc.training.initialise import initialise
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, start_in_units_of
from bmc.untrusted import read_json
from bmc.workflows import scoring
from bmc.workflows.data import DataSource, data_record
from bmc.workflows.lineage import overlap, weights_sha256
from bmc.workflows.outputs import forget_checkpoints, refuse_output
from bmc.workflows.settings import settings_from

_HINT = "bmc models lists all"
_HUGGING_FACE = ("bert", "mpnet")


@dataclass(frozen=True)
class Chosen:
    """A baseline that was asked for: its family's module, how it is built and how it is trained."""

    reference: str
    family: Any
    options: Any
    recipe: TrainingSettings


def choose(reference: str, options: Mapping[str, Any]) -> Chosen:
    """Find a baseline's family, and check the options that build it.

    Args:
        reference: a baseline's name, a Hugging Face folder, hf:NAME, timm:NAME, or
            python:module:function.
        options: settings of that family, by name; as typed, or in their own types.

    Raises:
        UnknownError: there is no such baseline.
        SettingError: the family has no such option, or its value is out of range.
    """
    family = plugins.load("bmc.models", _family(reference), "model", _HINT)
    return Chosen(
        reference,
        family,
        family.Settings(**settings_from(family.Settings, options, reference)),
        family.recipe(reference),
    )


def train_baseline(
    chosen: Chosen,
    data: Dataset,
    source: DataSource,
    settings: TrainingSettings,
    output: Path,
    force: bool,
) -> Model:
    """Train a baseline and write its model directory; a killed run goes on where it was."""
    refuse_output(output, force, data=data)
    started = time.monotonic()
    checkpoints = workspace.checkpoints_of(output)
    start = _say_start(chosen.reference, data)
    model = trained(chosen, data, settings, checkpoints)
    model.data = data_record(data, source)
    model.origin = {
        **model.origin,  # what a family decided about the folder that it started from
        "command": "train",
        "baseline": chosen.reference,
        "options": asdict(chosen.options),
        "settings": asdict(settings),
        "seconds": round(time.monotonic() - started, 1),
        **start,
    }
    artifact.save(model, output, force)
    forget_checkpoints(checkpoints)
    return model


def code_of(model: Model) -> str | None:
    """Return the module:function that builds a model, where that is a user's own code."""
    return str(model.spec["code"]) if model.family == "python" else None


def _say_start(reference: str, data: Dataset) -> dict[str, Any]:
    """Say where a model directory that training starts from has learned rows held out here."""
    folder = Path(reference)
    if not reference or not artifact.is_model_directory(folder):
        return {}
    shared = overlap(folder, data)
    for count, rows, name in (
        (shared.test, len(data.test), "held-out"),
        (shared.validation, len(data.validation), "validation"),
    ):
        if count:
            console.note(
                f"{folder} has learned {count} of the {rows} {name} rows (from {shared.where}): "
                "their score will be too high"
            )
    return {"start": {"sha256": weights_sha256(folder), "learned_test_rows": shared.test}}


def trained(chosen: Chosen, data: Dataset, settings: TrainingSettings, folder: Path) -> Model:
    """Build a baseline for some data and train it, with its checkpoints in a folder.

    Raises:
        DataError: the baseline is for another kind of data.
    """
    if data.kind not in chosen.family.KINDS:
        kinds = " or ".join(chosen.family.KINDS)
        raise DataError(
            f"{chosen.reference} takes {kinds}; {data.name!r} holds {data.kind}: name other data "
            f"with --data (bmc datasets lists some) or another model ({_HINT})"
        )
    torch.manual_seed(settings.seed)
    model: Model = chosen.family.baseline(chosen.reference, data, chosen.options)
    initialise(model.module, settings.initialisation)
    kept = any(row is not None for row in model.origin.get("pretrained", {}).get("rows", ()))
    if model.task == "regression" and not kept:
        start_in_units_of(model, data.train.labels)
    train = getattr(chosen.family, "train", fit_model)
    run = f"{chosen.reference} {chosen.options} {start_of(model)}"
    fitted = train(model, data, settings, folder, run=run)
    model.scores = fitted.to_json()
    model.origin = {**model.origin, "history": fitted.epochs()}
    scoring.score_validation(model, data.validation, settings.precision, settings.device)
    return model


def _family(reference: str) -> str:
    """Return the family of a baseline's name, of a prefix, or of a folder's config.json."""
    prefix = reference.partition(":")[0] if ":" in reference else ""
    if prefix in ("timm", "python"):
        return prefix
    if prefix == "hf" or (reference and Path(reference).is_dir()):
        return _family_of_folder(reference)
    choices = {name: family for family in plugins.names("bmc.models") for name in baselines(family)}
    if reference not in choices:
        raise unknown("model", reference, choices, _HINT)
    return choices[reference]


def baselines(family: str) -> Mapping[str, str]:
    """Return a family's baselines, read from its file without importing it.

    Importing every family would import torch and transformers for a mere list.
    """
    found: Mapping[str, str] = _declared(family, "BASELINES") or {}
    return found


def kinds(family: str) -> tuple[str, ...]:
    """Return the kinds of data that a family takes, likewise."""
    return tuple(_declared(family, "KINDS") or ())


def _declared(family: str, name: str) -> Any:
    path = Path(models.__file__).parent / f"{family.replace('-', '_')}.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if getattr(targets[0], "id", "") == name and node.value:
                return ast.literal_eval(node.value)
    return None


def _family_of_folder(reference: str) -> str:
    """Return the family that takes a Hugging Face model's type; bert says what is wrong else."""
    from bmc.models import _hugging_face  # noqa: PLC0415  imports transformers

    config = _hugging_face.folder_of(reference) / "config.json"
    kind = read_json(config, "Hugging Face model folder", links=True).get("model_type")
    return str(kind) if kind in _HUGGING_FACE else "bert"
