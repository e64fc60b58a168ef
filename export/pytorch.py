"""PyTorch: the model directory itself, the reference that other bundles are held against."""

from __future__ import annotations

from pathlib import Path

from bmc import artifact
from bmc.bundle import Bundle
from bmc.contracts import Exporter
from bmc.export import ExportOptions, Source, Written
from bmc.inspect.executed import Executed


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write the model directory as `model`."""
    artifact.save(source.model, folder / "model")
    return Written("model", source.model.encoder.tensors(), source.model.outputs())


def executed(bundle: Bundle) -> list[Executed]:
    """Return nothing: PyTorch computes in fp32 what is put on a grid before and after."""
    return []


EXPORTER = Exporter(write=write, executed=executed)
