"""memory:NAME: rows and labels that a Python caller gave in this process."""

from __future__ import annotations

from bmc import memory
from bmc.data._dataset import Table


def read(name: str, text_columns: tuple[str, ...], label_column: str) -> Table:
    """Return the table of that name.

    Raises:
        UnknownError: this process has no data of this name.
    """
    return memory.table(name)
