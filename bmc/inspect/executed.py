"""The operators that a runtime executes and their precisions, read from its compiled model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bmc.precision import REDUCED_DTYPES


@dataclass(frozen=True)
class Executed:
    """An operator of a compiled model.

    Args:
        operator: the runtime's name of the operator, such as "QGemm".
        precision: data type of the multiplications, such as "int8".
        name: name of the node.
    """

    operator: str
    precision: str
    name: str

    @property
    def is_reduced(self) -> bool:
        """Return whether the operator computes with fewer than 32 bits."""
        return self.precision in REDUCED_DTYPES


def counted(executed: Sequence[Executed]) -> list[tuple[str, str, int]]:
    """Return each operator and precision with the number of nodes, sorted."""
    counts = Counter((node.operator, node.precision) for node in executed)
    return [(*key, counts[key]) for key in sorted(counts)]
