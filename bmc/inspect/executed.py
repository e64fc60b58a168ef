"""What a run time really executes in which precision, read from what it compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NARROW = ("int8", "uint8", "int4", "float16", "bfloat16")


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
    def narrow(self) -> bool:
        """Tell whether it computes with fewer than 32 bits."""
        return self.precision in NARROW


def counted(executed: Sequence[Executed]) -> list[tuple[str, str, int]]:
    """Return operator, precision and how many there are, in the order of the names."""
    counts = Counter((one.operator, one.precision) for one in executed)
    return [(*key, counts[key]) for key in sorted(counts)]
