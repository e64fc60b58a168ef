"""Export to PyTorch: a copy of the model directory, which other bundles are compared with."""

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
    """Return no multiplications: PyTorch simulates quantization, and multiplies in fp32."""
    return []


EXPORTER = Exporter(write=write, executed=executed)
