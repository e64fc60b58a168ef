"""What `bmc inspect` looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bmc.errors import SettingError


@dataclass(frozen=True)
class InspectSettings:
    """What to look at.

    Args:
        length: tokens of a text, or time steps of a series, for the cost by layer.
        rows: number of validation rows, at most.
        examples: predictions to explain by feature importance.
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
        for name, least in (("length", 1), ("rows", 1), ("examples", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least {least}")
