"""A bundle of each kind of data for each target, with rows whose answers differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bmc import artifact
from bmc import data as datasets
from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from tests.models import _bundles

KINDS = ("text", "image", "series")
TARGETS = ("onnx", "openvino", "pytorch")


def model_of(
    kind: str, lively_folder: Path, reviews: Dataset, folder: Path
) -> tuple[Path, Dataset]:
    """Return a small model directory of a kind, and the data that it was made for."""
    if kind == "text":
        return lively_folder, reviews
    reference, name = {"image": ("mlp", "digits"), "series": ("gru", "japanese-vowels")}[kind]
    data = datasets.load(name)
    model = _bundles.trained(reference, data, folder / "checkpoints")
    return artifact.save(model, folder / kind), data


def export(source: tuple[Path, Dataset], folder: Path) -> None:
    """Export such a model for all targets, into FOLDER/TARGET: the ONNX graph is made once."""
    with source_of(*source, ExportOptions(max_batch=8)) as opened:
        for target in TARGETS:
            flow.export(opened, target, folder / target, force=False)


def rows_of(data: Dataset, count: int) -> list[Any]:
    """Return raw rows of a data set, as an application has them."""
    rows = [data.test.rows[index] for index in range(count)]
    if data.kind == "text":
        return [text for (text,) in rows]
    return [np.asarray(row) for row in rows]
