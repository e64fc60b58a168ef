"""What folders of files by class have in common: their entries, and how notes name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmc.data_files import reading


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted, without those whose names start with a dot.

    Raises:
        DataError: the folder cannot be read.
    """
    with reading(folder):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return [path for path in visible(folder) if path.is_dir()]


def first_of(paths: Sequence[Path]) -> str:
    """Return the first of some paths and the number of the others, for notes."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{str(paths[0])!r}{more}"
