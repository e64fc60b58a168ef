"""Export: a torch model becomes a bundle for a target; one target's format is one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bmc.errors import SettingError
from bmc.inputs import TensorInfo
from bmc.model import Model

OLDEST_OPSET, NEWEST_OPSET = 18, 23


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        opset: version of the ONNX operators; None takes the oldest that the model needs, and for
            ONNX Runtime the one that has attention where the model has.
        max_batch: rows that a TensorRT engine is built for at most.
        allow_slower: keep a quantized bundle that is slower than its fp32 export.
    """

    opset: int | None = None
    max_batch: int = 16
    allow_slower: bool = False

    def __post_init__(self) -> None:
        if self.opset is not None and not OLDEST_OPSET <= self.opset <= NEWEST_OPSET:
            raise SettingError(
                f"opset is {self.opset}; it must lie in {OLDEST_OPSET}..{NEWEST_OPSET}"
            )
        if self.max_batch < 1:
            raise SettingError(f"max batch is {self.max_batch}; it must be at least 1")


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
