"""A result in the form that is printed: lines and tables, or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rendered:
    """A result, ready to be printed.

    Args:
        data: the JSON document that `--json` prints.
        shown: lines and rich tables that the terminal shows.
        exit_code: exit code of the command.
    """

    data: dict[str, Any]
    shown: tuple[object, ...] = ()
    exit_code: int = 0
