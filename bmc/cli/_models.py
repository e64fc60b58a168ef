"""Getting models for verbs: a baseline trained on some data, or one that lies in a folder."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, plugins, workspace
from bmc import data as datasets
from bmc.cli._common import DataOptions
from bmc.data import Dataset
from bmc.errors import DataError, unknown
from bmc.files import refuse_existing, sha256
from bmc.model import Model
from bmc.text import TextSettings
from bmc.training.loop import TrainingSettings
from bmc.training.work import fit_model


def train_baseline(
    reference: str,
    data: Dataset,
    options: DataOptions,
    settings: TrainingSettings,
    max_length: int,
    output: Path,
    force: bool,
) -> Model:
    """Fine-tune a baseline and write its model directory; a killed run goes on where it was."""
    refuse_existing(output, force)
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    text = TextSettings(max_length, columns=len(data.columns))
    family = plugins.load("bmc.models", _family(reference), "model", "bmc models lists all")
    model: Model = family.pretrained(reference, data.labels, text)
    checkpoints = workspace.checkpoints_of(output)
    fitted = fit_model(model, data, settings, checkpoints, run=reference)
    model.data = data_record(data, options)
    model.scores = {"validation_accuracy": fitted.accuracy, "best_epoch": fitted.best_epoch}
    model.origin = {
        "command": "train",
        "baseline": reference,
        "settings": asdict(settings),
        "seconds": round(time.monotonic() - started, 1),
    }
    artifact.save(model, output, force)
    forget(checkpoints)
    return model


def data_of(folder: Path, reference: str | None) -> Dataset:
    """Load the data that a model directory was trained on, from where it was or where it is now.

    Raises:
        DataError: it is not the same data, or bmc.json does not say which it was.
    """
    recorded = artifact.describe(folder)["data"]
    found = reference or recorded.get("reference")
    if not found:
        raise DataError(f"{folder} does not say which data it was trained on; name it with --data")
    columns = recorded.get("text_columns", ("text",))
    data = datasets.load(str(found), columns, recorded.get("label_column", "label"))
    datasets.check_same(data, recorded.get("fingerprint"), str(folder))
    return data


def data_record(data: Dataset, options: DataOptions) -> dict[str, Any]:
    """Say in bmc.json which data this was, well enough to find it and to see that it changed."""
    return {
        "reference": options.data,
        "text_columns": list(data.columns),
        "label_column": options.label_column,
        "fingerprint": data.fingerprint,
        "rows": {
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
    }


def weights_sha256(folder: Path) -> str:
    """Return the sha256 of a model directory's weights: what identifies a model in lineages."""
    return sha256(folder / "model.safetensors")


def forget(checkpoints: Path) -> None:
    """Remove a finished command's checkpoints."""
    for file in checkpoints.glob("*"):
        file.unlink()
    if checkpoints.is_dir():
        checkpoints.rmdir()


def _family(reference: str) -> str:
    """Return the family of a baseline's name; folders and hub references are BERTs so far."""
    if ":" in reference or (reference and Path(reference).is_dir()):
        return "bert"
    choices = {
        name: family
        for family in plugins.names("bmc.models")
        for name in plugins.load("bmc.models", family, "model").BASELINES
    }
    if reference not in choices:
        raise unknown("model", reference, choices, "bmc models lists all")
    return choices[reference]
