"""The settings of `bmc inspect`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bmc.errors import SettingError


@dataclass(frozen=True)
class InspectSettings:
    """The settings of an inspection.

    Args:
        length: tokens of a text, or time steps of a series, for the cost by layer.
        rows: maximum number of validation rows, drawn at random.
        examples: number of predictions to explain by feature importance.
        sensitivity: prune and quantize each layer alone and measure the score; this takes a while.

    Raises:
        SettingError: a setting is out of range.
    """

    GROUP: ClassVar[str] = "Inspection"

    length: int = 32
    rows: int = 512
    examples: int = 6
    sensitivity: bool = False

    def __post_init__(self) -> None:
        for name, minimum in (("length", 1), ("rows", 1), ("examples", 0)):
            value = getattr(self, name)
            if value < minimum:
                raise SettingError(f"{name} is {value}; it must be at least {minimum}")
