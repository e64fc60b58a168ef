"""A bundle as a model that answers rows, so that it can teach as a network of PyTorch does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bmc import pipeline
from bmc.contracts.tasks import EMBEDDING
from bmc.errors import ArtifactError, OutputsWarning
from bmc.model import Model
from bmc.pipeline import Pipeline

_BATCH = 64


class BundleNetwork(nn.Module):
    """A bundle's session, as a module without parameters that gives logits and nothing else.

    Args:
        loaded: the bundle, loaded.
    """

    def __init__(self, loaded: Pipeline) -> None:
        super().__init__()
        self._pipeline = loaded
        manifest = loaded.bundle.manifest
        self._output = manifest.outputs[0].name
        self._rows = min(_BATCH, int(manifest.build.get("max_batch", _BATCH)))

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return the first output, float32 (rows, ...), for tensors as its encoder makes them.

        Raises:
            ArtifactError: an output is NaN or infinite.
        """
        arrays = {name: value.cpu().contiguous().numpy() for name, value in inputs.items()}
        first = next(iter(inputs.values()))
        parts = []
        for start in range(0, len(first), self._rows):
            batch = {name: array[start : start + self._rows] for name, array in arrays.items()}
            parts.append(self._pipeline.session.run(batch)[self._output])
        outputs = np.concatenate(parts).astype(np.float32, copy=False)
        if not np.isfinite(outputs).all():
            raise ArtifactError(
                f"bundle {self._pipeline.bundle.path}: an output is NaN or infinite, so it cannot "
                "teach; export it again"
            )
        return torch.from_numpy(outputs).to(first.device)


def load_bundle(folder: Path) -> Model:
    """Return a bundle as a model of no family, whose module gives logits and nothing else.

    Args:
        folder: the bundle's folder.

    Raises:
        ArtifactError: the bundle is damaged.
        MissingError: the runtime of the bundle is not installed, or its device is missing.
    """
    with warnings.catch_warnings():  # that it failed a check is noted where teachers are read
        warnings.filterwarnings("ignore", ".*failed a check when it was exported", OutputsWarning)
        loaded = pipeline.load(folder, threads=torch.get_num_threads())
    manifest = loaded.bundle.manifest
    spec: dict[str, Any] = {"target": manifest.target, "precision": manifest.precision}
    if manifest.task == EMBEDDING:
        spec["vector"] = {"width": manifest.outputs[0].shape[1]}
    return Model(
        BundleNetwork(loaded).eval(),
        "bundle",
        spec,
        manifest.labels,
        loaded.bundle.encoder,
        manifest.task,
    )


def is_bundle(model: Model) -> bool:
    """Tell whether a model is a bundle, which gives logits and nothing else."""
    return isinstance(model.module, BundleNetwork)
