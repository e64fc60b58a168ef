"""Costs of layers that `bmc inspect` measured: files in the workspace, by the model's weights.

A report shows them for the bundles of the same weights. Reading them needs no torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bmc import console, disk, workspace
from bmc.errors import ArtifactError
from bmc.typed import read_as
from bmc.untrusted import read_json
from bmc.writing import write_atomically

SCHEMA = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_LAYERS = 10_000


@dataclass(frozen=True)
class LayerCost:
    """Costs of one layer, as PyTorch executes the model.

    Args:
        path: path of the layer in the model.
        kind: class of the layer.
        parameters: number of values in its parameters.
        bytes: stored size of its parameters and buffers.
        macs: multiply-accumulates in one call.
        milliseconds: time in one call.
    """

    path: str
    kind: str
    parameters: int
    bytes: int
    macs: int
    milliseconds: float


@dataclass(frozen=True)
class LayerCosts:
    """Costs of all layers of a model, in order.

    Args:
        processor: the processor on which the time was measured.
        threads: number of threads of the time measurement.
        inputs: shape of each input tensor by name.
        layers: the layers.
    """

    processor: str
    threads: int
    inputs: dict[str, tuple[int, ...]]
    layers: tuple[LayerCost, ...]


def write(weights: str, costs: LayerCosts) -> Path:
    """Store the costs of a model's layers, and return the path of the file.

    Args:
        weights: sha256 of the model's weights.
        costs: the measured costs.
    """
    path = _path_of(weights)
    disk.make_folders(path.parent)
    content: dict[str, Any] = {"schema": SCHEMA, "costs": asdict(costs)}
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")
    return path


def layer_costs_of(weights: str) -> LayerCosts | None:
    """Return the stored costs of the layers of a model; None where `bmc inspect` stored none.

    Args:
        weights: sha256 of the model's weights, which may come from an untrusted bundle.
    """
    if not _SHA256.fullmatch(weights) or not _path_of(weights).is_file():
        return None
    path = _path_of(weights)
    try:
        content = read_json(path, "costs of layers")
        if content.get("schema") != SCHEMA:
            raise ValueError("it was written by another version of bmc")
        costs = read_as(LayerCosts, content.get("costs"))
        if len(costs.layers) > _MAX_LAYERS:
            raise ValueError(f"it has {len(costs.layers)} layers")
    except (ArtifactError, ValueError) as error:
        console.note(f"{path} is not used ({error}); bmc inspect writes it again")
        return None
    return costs


def _path_of(weights: str) -> Path:
    return workspace.root() / ".inspect" / "costs" / f"{weights}.json"
