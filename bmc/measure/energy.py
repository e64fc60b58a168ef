"""Energy that processors took, as Linux reports it (RAPL), where this process may read it.

Only whole processors are read: their counters include cores, caches and everything else that runs
on them at the time. The files are readable by root alone on most systems.

Source: Linux kernel documentation, "Power Capping Framework" (power/powercap/powercap.rst).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_PROCESSOR = re.compile(r"package-\d+")


@dataclass(frozen=True)
class Zone:
    """The energy counter of one processor.

    Args:
        path: file of the counter, in microjoules.
        size: number of microjoules after which the counter starts at 0 again.
    """

    path: Path
    size: int


class Meter:
    """Energy counters of all processors of this machine.

    Args:
        folder: folder of the power capping framework.

    Example:
        >>> meter = Meter()
        >>> before = meter.read()
        >>> meter.between(before, meter.read())
    """

    def __init__(self, folder: Path = _POWERCAP) -> None:
        self._zones = _zones(folder)

    def read(self) -> list[int]:
        """Return the counters in microjoules; an empty list where there are none to read."""
        try:
            return [_number(zone.path) for zone in self._zones]
        except (OSError, ValueError):
            return []

    def between(self, before: list[int], after: list[int]) -> int | None:
        """Return the microjoules between two readings; None where one of them is empty.

        A counter that started at 0 again in between did so once: that takes minutes.
        """
        if not before or len(before) != len(after):
            return None
        steps = zip(self._zones, before, after, strict=True)
        return sum((last - first) % zone.size for zone, first, last in steps)


def _zones(folder: Path) -> list[Zone]:
    zones: dict[str, Zone] = {}  # by processor: many have a counter in registers and one in memory
    for path in sorted(folder.glob("*")):
        try:
            name = (path / "name").read_text(encoding="ascii").strip()
            if _PROCESSOR.fullmatch(name):
                counter = path / "energy_uj"
                _number(counter)  # raises an error where only root may read it
                size = _number(path / "max_energy_range_uj") + 1
                zones.setdefault(name, Zone(counter, size))
        except (OSError, ValueError):
            continue
    return list(zones.values())


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
