"""Standard input, as `bmc predict` reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from bmc.errors import DataError
from bmc.workflows.rows import Asked, from_lines


def from_stdin(kind: str) -> list[Asked]:
    """Return a row for each line of standard input.

    Args:
        kind: of the model's rows; "text", "image", "series" or "latent".

    Raises:
        DataError: nobody writes into it.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise DataError("nothing to answer: bmc predict BUNDLE 'some text', or lines on stdin")
    binary = getattr(sys.stdin, "buffer", None)
    lines: Iterable[bytes] = binary or (line.encode() for line in sys.stdin)
    return from_lines(kind, lines, "standard input")
