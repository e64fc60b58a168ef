"""Checks of a model file's name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from bmc.errors import ArtifactError


def check_suffix(folder: Path, model: str, suffix: str, what: str) -> None:
    """Refuse another suffix: a run time would take the file for one of another format."""
    if PurePosixPath(model).suffix != suffix:
        raise ArtifactError(f"bundle {folder}: its model {model!r} is no {what} ({suffix})")
