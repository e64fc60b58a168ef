"""The options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bmc.errors import SettingError

OLDEST_OPSET, NEWEST_OPSET = 18, 23
_MAX_BATCH = 2**16
_REJECTING = ("reject_below", "reject_rate", "accept_accuracy")


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
        mobile: also write the model for ONNX Runtime Mobile, model.ort, and the list of its
            operators, required_operators.config (target onnx).
        reject_below: a row whose predicted class has a lower probability gets no label, 0 to 1.
        reject_rate: share of the validation rows that get no label, from which the threshold is
            chosen.
        accept_accuracy: accuracy of the validation rows that get a label; the lowest threshold
            that reaches it is chosen.

    Raises:
        SettingError: a setting is out of range.
    """

    GROUP: ClassVar[str] = "Bundle"

    opset: int | None = None
    max_batch: int = 16
    allow_slower: bool = False
    batch: int | None = None
    simplify: bool = False
    mobile: bool = False
    reject_below: float | None = None
    reject_rate: float | None = None
    accept_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.opset is not None and not OLDEST_OPSET <= self.opset <= NEWEST_OPSET:
            raise SettingError(
                f"opset is {self.opset}; it must lie in {OLDEST_OPSET}..{NEWEST_OPSET}"
            )
        if self.batch is not None and self.batch < 1:
            raise SettingError(f"batch is {self.batch}; it must be at least 1")
        if not 1 <= self.max_batch <= _MAX_BATCH:
            raise SettingError(f"max batch is {self.max_batch}; it must lie in 1..{_MAX_BATCH}")
        chosen = {name: getattr(self, name) for name in _REJECTING}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        for name, value in chosen.items():
            if not 0 < value < 1:
                raise SettingError(
                    f"{name.replace('_', ' ')} is {value}; it must lie between 0 and 1"
                )
        if len(chosen) > 1:
            raise SettingError(
                f"{' and '.join(name.replace('_', ' ') for name in chosen)} choose one threshold; "
                "set one of them"
            )

    @property
    def rejects(self) -> bool:
        """Whether rows may get no label."""
        return any(getattr(self, name) is not None for name in _REJECTING)
