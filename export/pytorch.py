"""Export to PyTorch: a copy of the model directory, which other bundles are compared with."""

from __future__ import annotations

from pathlib import Path

from bmc import artifact
from bmc.bundle import Bundle
from bmc.contracts import Exporter
from bmc.errors import UsageError
from bmc.export import ExportOptions, Source, Written
from bmc.inspect.executed import Executed
from bmc.model import Model


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write the model directory as `model`.

    Raises:
        UsageError: the source is an ONNX file, which PyTorch does not run.
    """
    if not isinstance(source.model, Model):
        raise UsageError(
            "the pytorch target runs model directories, not ONNX files; the others do: "
            "--target onnx,openvino,tensorrt"
        )
    artifact.save(source.model, folder / "model")
    return Written("model", source.model.encoder.tensors(), source.model.outputs())


def executed(bundle: Bundle) -> list[Executed]:
    """Return no multiplications: PyTorch simulates quantization, and multiplies in fp32."""
    return []


EXPORTER = Exporter(write=write, executed=executed)
