"""PyTorch: the model directory itself, the reference that other bundles are held against."""

from __future__ import annotations

from pathlib import Path

from bmc import artifact
from bmc.export import ExportOptions, Source, Written


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write the model directory as `model`."""
    artifact.save(source.model, folder / "model")
    return Written("model", source.model.encoder.tensors(), source.model.outputs())
