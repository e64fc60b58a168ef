"""Budgets of a pruned model: the largest number of MACs, parameters or bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bmc.errors import SettingError, UsageError

_SHRINKING = ("structured", "depth")
_ATTRIBUTES = {"macs": "macs", "params": "parameters", "size": "bytes"}
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


class Figures(Protocol):
    """What a model costs."""

    @property
    def parameters(self) -> int:
        """Return the number of parameters; shared parameters are counted once."""

    @property
    def bytes(self) -> int:
        """Return what parameters and buffers take."""

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one row."""


@dataclass(frozen=True)
class Budget:
    """What a pruned model may cost at most.

    Args:
        what: "macs" (per row, or per 32 tokens or steps), "params", or "size" (of the weights).
        typed: a number such as 50M (kB, MB for a size), or a fraction of the present value: 0.25x.

    Raises:
        SettingError: `typed` is not such a number, or the fraction is not in (0, 1).
    """

    what: str
    typed: str

    def __post_init__(self) -> None:
        self._number()

    def most(self, before: Figures) -> float:
        """Return the largest accepted number, given the values of the unpruned model."""
        number, is_share = self._number()
        return number * self.of(before) if is_share else number

    def of(self, figures: Figures) -> int:
        """Return the figure that this budget is about."""
        return int(getattr(figures, _ATTRIBUTES[self.what]))

    def missed(self, before: Figures, after: Figures) -> str:
        """Say by how much the budget was missed; nothing where it was met."""
        if self.of(after) <= self.most(before):
            return ""
        return (
            f"--target-{self.what} {self.typed} was not met: the nearest reached is "
            f"{self.of(after):,} {self.unit}, {self.of(after) / self.of(before):.2g}x"
        )

    @property
    def unit(self) -> str:
        """Return what is counted."""
        return {"macs": "MACs", "params": "parameters", "size": "bytes"}[self.what]

    def _number(self) -> tuple[float, bool]:
        match = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(?:(x)|([kMG]?)(B?))", self.typed.strip())
        option = f"--target-{self.what} is {self.typed!r}"
        if match is None or (match[4] and self.what != "size"):
            example = "500kB or 2MB" if self.what == "size" else "50M or 1.5G"
            raise SettingError(f"{option}; it must look like {example}, or 0.25x for a quarter")
        number = float(match[1]) * _UNITS[match[3] or ""]
        if match[2] and not 0 < number < 1:
            raise SettingError(f"{option}; a share of now lies between 0 and 1: 0.25x is a quarter")
        if number <= 0:
            raise SettingError(f"{option}; it must be above 0")
        return number, bool(match[2])


def check_budgets(method: str, settings: Mapping[str, Any], budgets: tuple[Budget, ...]) -> None:
    """Refuse budgets that a method cannot move, or that a typed setting has decided already.

    Raises:
        UsageError: it is so.
    """
    if budgets and method not in _SHRINKING:
        raise UsageError(
            f"--target-{budgets[0].what} has no use with {method}, whose strength changes no "
            f"layer's shape: take --method {' or '.join(_SHRINKING)}"
        )
    for name in ("ratio", *(("layers",) if method == "depth" else ())):
        if budgets and name in settings:
            raise UsageError(f"--target-{budgets[0].what} finds the {name}; leave one of them out")
