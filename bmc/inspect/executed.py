"""What a run time really executes in which precision, read from what it compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bmc.precision import REDUCED_DTYPES


@dataclass(frozen=True)
class Executed:
    """An operator as it is executed.

    Args:
        operator: the run time's own name of it, such as "QGemm".
        precision: what it multiplies with, such as "int8".
        name: of the node.
    """

    operator: str
    precision: str
    name: str

    @property
    def is_reduced(self) -> bool:
        """Tell whether the operator computes with fewer than 32 bits."""
        return self.precision in REDUCED_DTYPES


def counted(executed: Sequence[Executed]) -> list[tuple[str, str, int]]:
    """Return operator, precision and how many there are, in the order of the names."""
    counts = Counter((one.operator, one.precision) for one in executed)
    return [(*key, counts[key]) for key in sorted(counts)]
