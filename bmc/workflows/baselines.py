"""Baselines: models that bmc builds by name and trains on some data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, console, processes, workspace
from bmc.contracts import Family, Network, families, tasks
from bmc.contracts.tasks import EMBEDDING, task
from bmc.data import Dataset
from bmc.errors import DataError, SettingError, UsageError
from bmc.memory import PREFIX
from bmc.model import Model
from bmc.training import collective
from bmc.training.custom import custom_score
from bmc.training.identity import start_of
from bmc.training.initialize import initialize
from bmc.training.parametrizations import fold_parametrizations
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, start_in_units_of
from bmc.untrusted import read_json
from bmc.workflows import calls, scoring, vectors
from bmc.workflows.data import DataSource, data_record
from bmc.workflows.lineage import overlap, weights_sha256
from bmc.workflows.outputs import forget_checkpoints, refuse_output
from bmc.workflows.settings import settings_from

_HINT = "bmc models lists all"


@dataclass(frozen=True)
class Chosen:
    """A model to build: its family, and the settings of the network and of its training.

    Args:
        reference: name of the model.
        family: the model's family.
        network: functions of the family.
        options: settings of the network.
        recipe: default settings of the training.
        recipes: those for kinds of data that need others, by kind.
    """

    reference: str
    family: Family
    network: Network
    options: Any
    recipe: TrainingSettings
    recipes: Mapping[str, TrainingSettings] = field(default_factory=dict)

    def recipe_for(self, data: Dataset) -> TrainingSettings:
        """Return the default training settings for a data set's kind of rows."""
        kinds = (kind for kind in data.kinds if kind in self.recipes)
        return self.recipes.get(next(kinds, ""), self.recipe)


def choose(reference: str, options: Mapping[str, Any], taught: bool = False) -> Chosen:
    """Find a baseline's family, and check the options that build it.

    Args:
        reference: the name of a built-in model, a Hugging Face folder, hf:NAME, timm:NAME, or
            python:module:function.
        options: settings of that family, by name; as typed, or in their own types.
        taught: whether a teacher teaches it.

    Raises:
        UnknownError: there is no such baseline.
        SettingError: the family has no such option, or its value is out of range.
    """
    name = _family(reference)
    family = families.family(name)
    settings = family.settings(**settings_from(family.settings, options, reference))
    recipe = families.recipe_of(family, reference, settings, taught)
    return Chosen(reference, family, families.network(name), settings, recipe, family.recipes)


def train_baseline(
    chosen: Chosen,
    data: Dataset,
    source: DataSource,
    settings: TrainingSettings,
    output: Path,
    force: bool,
) -> Model:
    """Train a built-in model and write its directory; a stopped run resumes when called again."""
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
        calls.KEY: [
            calls.train_call(
                output.name, chosen.reference, asdict(chosen.options), asdict(settings), source
            )
        ],
        "seconds": round(time.monotonic() - started, 1),
        **start,
        **vectors.folder_record(chosen.reference, data.task),
    }
    artifact.save(model, output, force)
    collective.wait()  # another process may load what the first has saved
    forget_checkpoints(checkpoints)
    return model


def code_of(model: Model) -> str | None:
    """Return the module:function that builds a model, where that is a user's own code."""
    return str(model.spec["code"]) if families.family(model.family).runs_user_code else None


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
                f"{folder} was trained on {count} of the {rows} {name} rows (from {shared.where}): "
                "their score will be too high"
            )
    return {"start": {"sha256": weights_sha256(folder), "learned_test_rows": shared.test}}


def trained(chosen: Chosen, data: Dataset, settings: TrainingSettings, folder: Path) -> Model:
    """Build a baseline for some data and train it, with its checkpoints in a folder.

    Encoders of sentences stay as they are: they have no labels to be trained on. So do trained
    weights where the settings have no epoch.

    Raises:
        DataError: the baseline is for another kind of data.
        UsageError: it makes no vectors, which the task asks for; or it is not to be trained, and
            has no trained weights for these classes.
    """
    torch.manual_seed(settings.seed)
    model = built(chosen, data)
    if data.task == EMBEDDING:
        vectors.refuse_other_models(model, chosen.reference)
        return vectors.as_read(model, data)
    if not settings.epochs:
        return _as_it_is(model, chosen, data, settings)
    _refuse_new_weights(model, chosen, settings)
    initialize(model.module, settings.initialization)
    start_head(model, data)
    if chosen.network.train is not None:
        processes.refuse_several(f"the training of {chosen.reference}")
    train = chosen.network.train or fit_model
    run = f"{chosen.reference} {chosen.options} {start_of(model)}"
    fitted = train(model, data, settings, folder, run=run)
    model.scores = fitted.to_json()
    model.origin = {**model.origin, "history": fitted.epochs()}
    scoring.score_validation(model, data.validation, settings.precision, settings.device)
    return model


def _refuse_new_weights(model: Model, chosen: Chosen, settings: TrainingSettings) -> None:
    """Refuse an initialization of weights that were trained; of a user's network, say it.

    Raises:
        SettingError: the model came with trained weights.
    """
    how = settings.initialization
    if how == "default":
        return
    if model.origin.get("pretrained") or getattr(chosen.options, "pretrained", False):
        raise SettingError(
            f"initialization is {how!r}, which would draw the weights anew with which "
            f"{chosen.reference} was pretrained: leave it out"
        )
    if chosen.family.runs_user_code or chosen.reference.startswith(PREFIX):
        console.note(
            f"--initialization {how}: the weights of {chosen.reference}'s linear, convolutional "
            "and recurrent layers are drawn anew"
        )


def _as_it_is(model: Model, chosen: Chosen, data: Dataset, settings: TrainingSettings) -> Model:
    """Score a model with the weights that it came with.

    Raises:
        UsageError: it came with none, or with a head for other classes.
    """
    pretrained = model.origin.get("pretrained", {})
    has_head = all(row is not None for row in pretrained.get("rows", (None,)))
    is_users = chosen.family.runs_user_code or chosen.reference.startswith(PREFIX)
    if not (has_head or is_users) or not model.has_labels:
        reason = pretrained.get("head", "its head is new")
        raise UsageError(
            f"--epochs 0 takes trained weights as they are, and {chosen.reference} has none for "
            f"this data ({reason}): take --epochs 1 or more"
        )
    fold_parametrizations(model.module)
    scoring.score_validation(model, data.validation, settings.precision, settings.device)
    custom = custom_score(model)
    measure = custom.name if custom else tasks.scoring(model.task, model.labels).measure
    score = model.scores[scoring.VALIDATION][measure]["value"]
    model.scores = {f"validation_{measure}": score, **model.scores}
    console.note(
        f"{chosen.reference} is taken as it is. Its scores are too high if it was trained on rows "
        "that are held out here"
    )
    return model


def built(chosen: Chosen, data: Dataset) -> Model:
    """Build a baseline for some data; it need not be trained.

    Raises:
        DataError: the baseline is for another kind of data.
    """
    if not set(data.kinds) & set(chosen.family.takes):
        kinds = " or ".join(chosen.family.takes)
        is_table = data.kind == "text" and "features" in chosen.family.takes
        columns = "; columns of numbers are read with --features" if is_table else ""
        raise DataError(
            f"{chosen.reference} takes {kinds}; {data.name!r} holds {data.kind}: name other data "
            f"with --data (bmc datasets lists some) or another model ({_HINT}){columns}"
        )
    return chosen.network.baseline(chosen.reference, data, chosen.options)


def start_head(model: Model, data: Dataset) -> None:
    """Start the new head of a regression with outputs around the labels' mean, in their scale."""
    has_rows = any(row is not None for row in model.origin.get("pretrained", {}).get("rows", ()))
    if task(model.task).is_numeric and not has_rows:
        start_in_units_of(model, data.train.labels)


def _family(reference: str) -> str:
    """Return the family of the name of a built-in model, of a prefix, or of a Hugging Face folder.

    A baseline's name stands for the baseline, also where a folder has this name.

    Raises:
        UnknownError: there is no such baseline.
        ArtifactError: no family loads models of the folder's type.
    """
    family = families.of_prefix(reference)
    if family is not None:
        return family
    is_folder = bool(reference) and Path(reference).is_dir()
    if reference in families.baselines():
        if is_folder:
            console.note(f"{reference} is the built-in model; the folder is named ./{reference}")
    elif is_folder or reference.startswith("hf:"):
        return _family_of_folder(reference)
    return families.of_baseline(reference)


def _family_of_folder(reference: str) -> str:
    from bmc.models import hugging_face  # noqa: PLC0415  imports transformers

    path = hugging_face.folder_of(reference) / "config.json"
    config = read_json(path, "Hugging Face model folder", links=True)
    family = families.of_model_type(str(config.get("model_type")))
    if family is None:
        raise hugging_face.unknown_type(reference, config)
    return family
