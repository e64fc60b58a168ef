"""Budgets of a search: how many points, bytes and milliseconds a compressed model may take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

from bmc.choices import Choice, about, check_choices
from bmc.errors import SettingError, UsageError
from bmc.figures import megabytes, significant

GOALS = ("latency", "size", "drop")
_PARITY = "parity"
_SMALLER_BY_BITS = 7  # weights of 4 bits with their scales
_FASTER_BY_BITS = {True: 4, False: 2}  # with VNNI and its like, and without
_SIZE_UNITS = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_TIME_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_NUMBER = r"(\d+\.?\d*|\.\d+)"
_LEAST_BYTES = 100  # no format's file is smaller
_LEAST_MS = 1e-3  # a call of a runtime takes longer


@dataclass(frozen=True)
class Budgets:
    """What a compressed model may lose and cost, and what is minimized within that.

    Args:
        max_drop: largest loss of validation score, in percentage points.
        max_size: largest size of the model's file in the bundle, such as 5MB or 500kB, or a
            fraction of the uncompressed model's: 1/6 or 0.25x.
        max_latency: largest median latency of a row on the target, such as 1ms or 500us, or a
            fraction of the uncompressed model's: 1/6 or 0.25x.
        minimize: what to minimize within the budgets: latency, size or drop.

    Raises:
        SettingError: a budget is out of range, or is written in another way.
        UsageError: the budgets contradict each other.
    """

    GROUP: ClassVar[str] = "Budgets"

    max_drop: float | None = None
    max_size: str | None = None
    max_latency: str | None = None
    minimize: str = field(
        default="latency", metadata=about(Choice("goal", GOALS), alias="minimise")
    )

    def __post_init__(self) -> None:
        check_choices(self)
        if self.max_drop is not None and not 0 <= self.max_drop < 100:
            raise SettingError(f"max drop is {self.max_drop:g}; it is in points, 0 to below 100")
        if self.max_size is not None:
            most, is_share = _read("size", self.max_size, _SIZE_UNITS, "5MB, 500kB, 1/6 or 0.25x")
            if not is_share and most < _LEAST_BYTES:
                raise SettingError(
                    f"max size is {self.max_size!r}; no model's file has fewer than "
                    f"{_LEAST_BYTES} bytes"
                )
        if self.max_latency is not None:
            most, is_share = _read("latency", self.max_latency, _TIME_UNITS, "1ms, 500us or 1/6")
            if not is_share and most < _LEAST_MS:
                raise SettingError(
                    f"max latency is {self.max_latency!r}; no call takes less than a microsecond"
                )
        if self.minimize == "drop" and self.max_size is None and self.max_latency is None:
            raise UsageError(
                "--minimize drop without --max-size and --max-latency contradicts itself: the "
                "model as it is loses nothing; set one of them"
            )

    def limits(self, of_model: Measured) -> Limits:
        """Return the limits as numbers, given what the uncompressed model takes."""
        return Limits(
            self.max_drop,
            _most(self.max_size, _SIZE_UNITS, of_model.bytes),
            _most(self.max_latency, _TIME_UNITS, of_model.milliseconds),
        )

    def refuse_met(self, of_model: Measured) -> None:
        """Refuse budgets that the uncompressed model meets, where the loss is minimized.

        Raises:
            UsageError: nothing would have to be lost.
        """
        is_limited = self.max_size is not None or self.max_latency is not None
        if is_limited and not self.limits(of_model).excess(of_model) and self.minimize == "drop":
            raise UsageError(
                f"the model takes {shown(of_model)} and so is within the budgets as it is; "
                "--minimize latency or size makes it faster or smaller within them"
            )

    def objectives(self) -> tuple[str, ...]:
        """Return what a search minimizes, in the order of `Measured.of`: drop, size, latency."""
        named = {"drop": True, "size": self.max_size, "latency": self.max_latency}
        return tuple(name for name, typed in named.items() if typed or name == self.minimize)

    def to_json(self) -> dict[str, object]:
        """Return the budgets as they were typed."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


@dataclass(frozen=True)
class Measured:
    """What a candidate loses and costs.

    Args:
        drop: points of the validation score lost; negative where the score rose.
        bytes: size of the exported model.
        milliseconds: median latency of a row on the target.
        failure: how the bundle's answers differ from PyTorch's, where that is too much; "" where
            it is not.
        drop_low: lower end of the drop's 95 % interval, paired by rows; None where it is unknown.
        drop_high: upper end of it.
        divergence: mean divergence of its outputs from the uncompressed model's, as its task
            defines it (of classes, the KL divergence); None where it is unknown.
    """

    drop: float
    bytes: int
    milliseconds: float
    failure: str = ""
    drop_low: float | None = None
    drop_high: float | None = None
    divergence: float | None = None

    def of(self, name: str) -> float:
        """Return the figure of an objective: "drop", "size" or "latency"."""
        return {"drop": self.drop, "size": self.bytes, "latency": self.milliseconds}[name]


@dataclass(frozen=True)
class Limits:
    """Budgets as numbers; None where nothing is limited.

    Args:
        drop: points.
        bytes: bytes of the exported model.
        milliseconds: median latency of a row.
    """

    drop: float | None
    bytes: float | None
    milliseconds: float | None

    def constraints(self, measured: Measured) -> dict[str, float]:
        """Return by how much each limit is exceeded; 0 or less where it is met.

        A drop is counted in points, size and latency as a share of their limit; "parity" is 1 where
        the bundle differs too much from PyTorch.
        """
        values = {_PARITY: float(bool(measured.failure))}
        if self.drop is not None:
            values["drop"] = measured.drop - self.drop
        if self.bytes is not None:
            values["size"] = measured.bytes / self.bytes - 1
        if self.milliseconds is not None:
            values["latency"] = measured.milliseconds / self.milliseconds - 1
        return values

    def may_be_met_by_bits(self, base: Measured, is_fast: bool = True) -> bool:
        """Tell whether fewer bits alone, without another structure, may meet the limits.

        Args:
            base: what the uncompressed model takes.
            is_fast: whether the processor has instructions for sums of 8-bit products.
        """
        size = self.bytes is None or self.bytes >= base.bytes / _SMALLER_BY_BITS
        least = base.milliseconds / _FASTER_BY_BITS[is_fast]
        return size and (self.milliseconds is None or self.milliseconds >= least)

    def excess(self, measured: Measured, names: tuple[str, ...] = (*GOALS, _PARITY)) -> float:
        """Return by how much the limits of some figures are exceeded in all; 0 if all are met."""
        constraints = self.constraints(measured)
        return sum(max(0.0, constraints.get(name, 0.0)) for name in names)

    def is_certain(self, measured: Measured) -> bool:
        """Tell whether the drop's whole interval is within its limit, or none is known."""
        high = measured.drop_high
        return self.drop is None or high is None or high <= self.drop

    def nearest(self, found: Mapping[str, Measured]) -> tuple[str, str]:
        """Return the name of the candidate that comes nearest to the limits, and one sentence.

        Args:
            found: measured candidates by name; at least one.
        """
        name = min(found, key=lambda key: (self.excess(found[key]), found[key].drop))
        return name, f"no model within {self.shown()} was found; nearest: {shown(found[name])}"

    def shown(self) -> str:
        """Write the limits for people."""
        parts = []
        if self.drop is not None:
            parts.append(f"{self.drop:g} points")
        if self.bytes is not None:
            parts.append(megabytes(self.bytes))
        if self.milliseconds is not None:
            parts.append(f"{significant(self.milliseconds)} ms")
        return ", ".join(parts) or "no limit"


def shown(measured: Measured) -> str:
    """Write what a candidate loses and costs: "1.4 points [0.2, 2.6] at 5.0 MB and 0.9 ms"."""
    lost = f"{measured.drop:.1f} points" if measured.drop > -0.05 else "no points"
    if measured.drop_low is not None:
        lost += f" [{measured.drop_low:.1f}, {measured.drop_high:.1f}]"
    size = megabytes(measured.bytes)
    return f"{lost} at {size} and {significant(measured.milliseconds)} ms"


def _most(typed: str | None, units: Mapping[str, float], present: float) -> float | None:
    if typed is None:
        return None
    number, is_share = _read("", typed, units, "")
    return number * present if is_share else number


def _read(what: str, typed: str, units: Mapping[str, float], examples: str) -> tuple[float, bool]:
    """Read a budget; return its number, and whether it is a fraction of what the model takes.

    Raises:
        SettingError: it has another form, or a fraction is not between 0 and 1.
    """
    text = typed.strip()
    share = re.fullmatch(rf"{_NUMBER} ?(?:x|/ ?{_NUMBER})", text)
    number = re.fullmatch(rf"{_NUMBER} ?({'|'.join(units)})", text)
    if number:
        return float(number[1]) * units[number[2]], False
    if share is None:
        raise SettingError(f"max {what} is {typed!r}; it must look like {examples}")
    divisor = float(share[2]) if share[2] else 1.0
    value = float(share[1]) / divisor if divisor else 0.0
    if not 0 < value < 1:
        raise SettingError(
            f"max {what} is {typed!r}; a fraction of what the model takes lies between 0 and 1, "
            "such as 1/6"
        )
    return value, True
