"""Export a PyTorch model as a bundle for a target; each target's format is one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bmc.contracts.export_options import NEWEST_OPSET as NEWEST_OPSET
from bmc.contracts.export_options import OLDEST_OPSET as OLDEST_OPSET
from bmc.contracts.export_options import ExportOptions as ExportOptions
from bmc.inputs import Encoder, TensorInfo


@dataclass(frozen=True)
class Written:
    """The files that an exporter wrote into a bundle's folder.

    Args:
        model: name of the file (or folder) that the target loads.
        inputs: input tensors of the model.
        outputs: output tensors of the model.
        build: facts about the build, such as the opset and the number of nodes.
    """

    model: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    build: dict[str, Any] = field(default_factory=dict)


class Exported(Protocol):
    """What an exporter reads of a model: a PyTorch model, or an ONNX file of another tool."""

    @property
    def encoder(self) -> Encoder:
        """The encoder that turns raw rows into the model's inputs."""

    def outputs(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each output."""


class Source(Protocol):
    """A model to export, and its ONNX graph, which all targets share."""

    @property
    def model(self) -> Exported:
        """The model."""

    @property
    def options(self) -> ExportOptions:
        """The export's options."""

    @property
    def opset(self) -> int:
        """The version of the ONNX operators."""

    @property
    def batch(self) -> dict[str, Any]:
        """Entries of `build` about the batch size; empty where the batch size is free."""

    def onnx(self, target: str) -> tuple[Path, dict[str, int]]:
        """Return the ONNX file in a target's dialect, and its number of nodes by operator."""
