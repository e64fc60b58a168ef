"""The options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bmc.errors import SettingError

OLDEST_OPSET, NEWEST_OPSET = 18, 23


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        opset: ONNX opset, 18 to 23. The default is 18, and 23 for ONNX Runtime where the model has
            attention, which is a single operator then.
        max_batch: largest batch that a TensorRT engine is built for.
        allow_slower: accept a quantized bundle that is slower than its fp32 export; otherwise that
            is exit 1, and the bundle is kept as NAME.failed. It is not needed for methods that
            reduce size (weights, fp16, bf16).
        batch: number of rows of an ONNX file's every call, in place of any number.
        simplify: fold constants and batch norms of an ONNX file, and remove what no output needs.

    Raises:
        SettingError: a setting is out of range.
    """

    GROUP: ClassVar[str] = "Bundle"

    opset: int | None = None
    max_batch: int = 16
    allow_slower: bool = False
    batch: int | None = None
    simplify: bool = False

    def __post_init__(self) -> None:
        if self.opset is not None and not OLDEST_OPSET <= self.opset <= NEWEST_OPSET:
            raise SettingError(
                f"opset is {self.opset}; it must lie in {OLDEST_OPSET}..{NEWEST_OPSET}"
            )
        if self.batch is not None and self.batch < 1:
            raise SettingError(f"batch is {self.batch}; it must be at least 1")
        if self.max_batch < 1:
            raise SettingError(f"max batch is {self.max_batch}; it must be at least 1")
