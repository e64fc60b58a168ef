"""Export: a torch model becomes a bundle for a target; one target's format is one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bmc.contracts.export_options import NEWEST_OPSET as NEWEST_OPSET
from bmc.contracts.export_options import OLDEST_OPSET as OLDEST_OPSET
from bmc.contracts.export_options import ExportOptions as ExportOptions
from bmc.inputs import TensorInfo
from bmc.model import Model


@dataclass(frozen=True)
class Written:
    """What an exporter put into a bundle's folder.

    Args:
        model: the file (or folder) that the target loads.
        inputs: tensors that it takes.
        outputs: tensors that it returns.
        build: what is worth knowing of how it was made.
    """

    model: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    build: dict[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """What is exported: the live model, and its ONNX graph, made once for all targets."""

    @property
    def model(self) -> Model:
        """The live model."""

    @property
    def options(self) -> ExportOptions:
        """How to export."""

    @property
    def opset(self) -> int:
        """The version of the ONNX operators."""

    @property
    def batch(self) -> dict[str, Any]:
        """What a bundle says of the number of rows: nothing where it is free."""

    def onnx(self, target: str) -> tuple[Path, dict[str, int]]:
        """Return the ONNX file in a target's dialect, and the number of nodes by operator."""
