"""Trains, saves, loads and exports a baseline on a slice of data, as the command line would."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bmc import artifact, targets
from bmc.bundle import Bundle
from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.model import Model, output_of
from bmc.targets import RuntimeOptions
from bmc.training.settings import TrainingSettings
from bmc.workflows import baselines

SHAPES = ((1, 1), (3, 7), (5, 19), (1, 33))


def trained(reference: str, data: Dataset, folder: Path, **options: str) -> Model:
    """Return a baseline after one epoch on a data set."""
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu", learning_rate=1e-3)
    model = baselines.trained(baselines.choose(reference, options), data, settings, folder)
    model.data = {"reference": data.name, "fingerprint": data.fingerprint, "task": data.task}
    return model


def exported(folder: Path, data: Dataset, target: str, output: Path) -> Bundle:
    """Export a model directory."""
    with source_of(folder, data, ExportOptions(max_batch=8)) as source:
        return flow.export(source, target, output, force=False)


@contextmanager
def exporting(folder: Path, data: Dataset) -> Iterator[Callable[[str], Bundle]]:
    """Give the block a function that exports a model directory to a target, once.

    The bundles lie next to the directory, and share one ONNX graph, as those of one command do.
    """
    with source_of(folder, data, ExportOptions(max_batch=8)) as source:

        @functools.cache
        def export(target: str) -> Bundle:
            output = folder.with_name(f"{folder.name}-{target}")
            return flow.export(source, target, output, force=False)

        yield export


@dataclass(frozen=True)
class Exported:
    """A model and its bundles.

    Args:
        model: the model, as it was loaded from its directory.
        bundle: function that exports the model to a target, once.
    """

    model: Model
    bundle: Callable[[str], Bundle]


@contextmanager
def exports_of(reference: str, data: Dataset, folder: Path, **options: str) -> Iterator[Exported]:
    """Give the block a baseline after one epoch on a data set, saved, and its bundles."""
    model = trained(reference, data, folder / "checkpoints", **options)
    loaded = saved(model, folder / "model")
    with exporting(folder / "model", data) as export:
        yield Exported(loaded, export)


def answers_of(bundle: Bundle, inputs: list[dict[str, NDArray[Any]]]) -> list[NDArray[Any]]:
    """Return a bundle's first output for each input."""
    name = bundle.manifest.outputs[0].name
    with targets.load(bundle.manifest.target).load(bundle, RuntimeOptions()) as session:
        return [session.run(arrays)[name] for arrays in inputs]


def module_answers(model: Model, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the model's outputs in PyTorch."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        result: NDArray[Any] = output_of(model.module.eval(), tensors).numpy()
    return result


def saved(model: Model, folder: Path) -> Model:
    """Save a model, load it again, and check that nothing changed."""
    loaded = artifact.load(artifact.save(model, folder))
    before, after = model.module.state_dict(), loaded.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert loaded.encoder.to_json() == model.encoder.to_json()
    return loaded


def texts(model: Model, rows: int, length: int) -> dict[str, NDArray[Any]]:
    """Return random token ids without special ones, ragged; the first row is whole."""
    generator = np.random.default_rng(length)
    vocabulary = int(model.spec.get("vocabulary") or model.spec["vocab_size"])
    ids = generator.integers(4, vocabulary, (rows, length))
    lengths = generator.integers(1, length + 1, rows)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    pad = int(model.encoder.to_json()["pad_id"])
    return {"input_ids": np.where(mask == 1, ids, pad), "attention_mask": mask}
