"""What a person and a program see of a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A result, ready to be printed.

    Args:
        data: one JSON document.
        shown: lines and rich tables.
        exit_code: of a command that ends with it.
    """

    data: dict[str, Any]
    shown: tuple[object, ...] = ()
    exit_code: int = 0
