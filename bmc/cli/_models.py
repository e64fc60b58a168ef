"""Getting models for verbs: a baseline trained on some data, or one that lies in a folder."""

from __future__ import annotations

import ast
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, console, disk, plugins, workspace, writing
from bmc import data as datasets
from bmc.cli import _scoring
from bmc.cli._common import DataOptions
from bmc.cli._lineage import fold_of, load_recorded, overlap, refuse_output, weights_sha256
from bmc.data import Dataset
from bmc.errors import DataError, SettingError, UsageError, unknown
from bmc.measure.shown import significant
from bmc.model import Model
from bmc.training.identity import start_of
from bmc.training.initialise import initialise
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, start_in_units_of
from bmc.untrusted import read_json

_HINT = "bmc models lists all"
_HUGGING_FACE = ("bert", "mpnet")
_KINDS = {int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class Chosen:
    """A baseline that was asked for: its family's module, how it is built and how it is trained."""

    reference: str
    family: Any
    options: Any
    recipe: TrainingSettings


def choose(reference: str, options: Mapping[str, str]) -> Chosen:
    """Find a baseline's family, and check the options that build it.

    Args:
        reference: a baseline's name, a Hugging Face folder, hf:NAME, timm:NAME, or
            python:module:function.
        options: settings of that family, as typed.

    Raises:
        UnknownError: there is no such baseline.
        SettingError: the family has no such option, or its value is out of range.
    """
    family = plugins.load("bmc.models", _family(reference), "model", _HINT)
    return Chosen(
        reference,
        family,
        family.Settings(**typed_settings(family.Settings, options, reference)),
        family.recipe(reference),
    )


def train_baseline(
    chosen: Chosen,
    data: Dataset,
    source: DataOptions,
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
    forget(checkpoints)
    return model


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
    _scoring.score_validation(model, data.validation, settings.precision, settings.device)
    return model


def shown_score(model: Model, rows: int) -> str:
    """Return a model's validation score as a line for people."""
    (name, value), best = next(iter(model.scores.items())), int(model.scores["best_epoch"])
    return f"{name.replace('_', ' ')} {significant(value)} ({rows} rows, epoch {best})"


def next_export(model: Model, output: Path) -> str:
    """Return the line that says which command comes next; a user's own code is to be typed anew."""
    code = f" --code {model.spec['code']}" if model.family == "python" else ""
    return f"next: bmc export {output} --target onnx{code}    (scores the held-out test split)"


def data_of(folder: Path, reference: str | None) -> Dataset:
    """Load the data that a model directory was trained on, from where it was or where it is now.

    Raises:
        DataError: it is not the same data, or bmc.json does not say which it was.
        ArtifactError: bmc.json is malformed.
    """
    recorded = artifact.describe(folder)["data"]
    data = load_recorded(recorded, folder, reference)
    known = recorded.get("fingerprint")
    if reference is None and known and known != data.fingerprint:
        raise DataError(
            f"{recorded['reference']} is not the data that {folder} was trained on any more "
            f"(fingerprint {data.fingerprint[:12]}, recorded {str(known)[:12]}): its held-out rows "
            "may have been trained on. Bring it back, name a copy of it with --data, or train the "
            "model anew"
        )
    datasets.check_same(data, known, str(folder))
    return data


def data_record(data: Dataset, source: DataOptions) -> dict[str, Any]:
    """Say in bmc.json which data this was, well enough to find it and to see that it changed."""
    return {
        "reference": source.data,
        "location": data.location,
        "text_columns": list(data.columns),
        "label_column": source.label_column,
        "task": data.task,
        "fold": [source.fold.number, source.fold.of] if source.fold else None,
        "fingerprint": data.fingerprint,
        "rows": {
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "summary": data.summary.to_json(),
    }


def refuse_another_fold(teacher: Path, record: Mapping[str, Any]) -> None:
    """Refuse a teacher that learned rows of this data which are held out here.

    Args:
        teacher: its model directory.
        record: of the student's data, as `data_record` makes it.

    Raises:
        UsageError: both were made from one data set that was split in two ways.
        ArtifactError: a bmc.json says nonsense.
    """
    its = artifact.describe(teacher)["data"]
    reference = record.get("reference")
    if not reference or not _is_same(reference, its.get("reference")):
        return
    folds = [fold_of(one, teacher) for one in (its, record)]
    if folds[0] != folds[1]:
        first, second = (
            f"fold {one.number}/{one.of}" if one else "the usual test split" for one in folds
        )
        raise UsageError(
            f"the teacher {teacher} was made with {first} of {reference} held out, and here it is "
            f"{second}: it has learned rows that the student will be scored on. Train a teacher "
            "with the same --fold"
        )


def _is_same(first: object, second: object) -> bool:
    """Tell whether two references name the same data, however a file's path is written."""
    if first == second:
        return True
    paths = [Path(str(one)) for one in (first, second)]
    return all(one.exists() for one in paths) and paths[0].samefile(paths[1])


def forget(checkpoints: Path) -> None:
    """Remove a finished command's checkpoints."""
    writing.remove(checkpoints)
    disk.remove_folder(checkpoints.parent)


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
    path = Path(__file__).parent.parent / "models" / f"{family.replace('-', '_')}.py"
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


def pairs_of(typed: Sequence[str]) -> dict[str, str]:
    """Read settings typed as NAME=VALUE.

    Raises:
        SettingError: one looks different.
    """
    options = {}
    for pair in typed:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SettingError(f"--set {pair!r}; it must look like NAME=VALUE")
        options[name] = value
    return options


def typed_settings(kind: Any, options: Mapping[str, str], reference: str) -> dict[str, Any]:
    """Return what was typed in the types of a settings class's fields.

    Args:
        kind: a dataclass all of whose fields have a default.
        options: name and value, as typed; the values of a tuple with commas between.
        reference: whose settings these are, for messages.

    Raises:
        SettingError: there is no such setting, or its value is of another type.
    """
    known = {field.name: type(field.default) for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, text in options.items():
        field = name.replace("-", "_")
        if field not in known:
            raise unknown(f"setting of {reference}", name, known)
        values[field] = _typed(known[field], name, text)
    return values


def _typed(kind: type, name: str, text: str) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise SettingError(f"{name} is {text!r}; true or false are possible")
        return text == "true"
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind not in _KINDS:
        raise SettingError(f"{name} cannot be typed; it is found by a search")
    try:
        return kind(text)
    except ValueError as error:
        raise SettingError(f"{name} is {text!r}; it must be a {_KINDS[kind]}") from error
