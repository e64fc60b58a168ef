"""The workspace: where commands put what they make, and find what they are not told."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from bmc import writing
from bmc.errors import UnknownError, unknown
from bmc.writing import BUNDLE_MANIFEST as BUNDLE_MANIFEST
from bmc.writing import MODEL_MANIFEST as MODEL_MANIFEST

_VERBS = {"model": "bmc train", "bundle": "bmc export"}
_ELSEWHERE = "one that --output put elsewhere is named by its path"
_KINDS = {MODEL_MANIFEST: "model", BUNDLE_MANIFEST: "bundle"}


def root() -> Path:
    """Return the workspace: BMC_HOME, or ./bmc-runs."""
    return Path(os.environ.get("BMC_HOME") or "bmc-runs")


def checkpoints_of(output: Path) -> Path:
    """Return the folder for the checkpoints of the command that will write `output`."""
    return output.absolute().parent / ".checkpoints" / output.name


def cache() -> Path:
    """Return the folder for what can be computed again."""
    return root() / ".cache"


def slug(text: str) -> str:
    """Turn a reference or path into a name for a folder."""
    return (
        re.sub(r"[^A-Za-z0-9._-]+", "-", Path(text.removeprefix("hf:")).name).strip("-.") or "model"
    )


def entries(kind: str, failed: bool = False) -> list[Path]:
    """List the workspace's model directories ("model") or bundles ("bundle"), newest last.

    Args:
        kind: "model" or "bundle".
        failed: list those that failed a gate instead.
    """
    if not root().is_dir():
        return []
    found = [
        path
        for path in root().iterdir()
        if not path.name.startswith(".")
        and path.name.endswith(".failed") == failed
        and kind_of(path) == kind
    ]
    return sorted(found, key=lambda path: (_written(path), path.name))


def kind_of(path: Path) -> str | None:
    """Say whether a folder is a "model" directory, a "bundle", or neither."""
    for manifest, kind in _KINDS.items():
        with suppress(OSError):  # a name that is too long
            if (path / manifest).is_file():
                return kind
    return None


def newest(kind: str) -> Path:
    """Return the newest model directory or bundle.

    Raises:
        UnknownError: there is none yet.
    """
    found = entries(kind)
    if not found:
        raise UnknownError(
            f"no {kind} in {root()} yet; make one with {_VERBS[kind]}, or name a folder"
        )
    return found[-1]


def find(reference: str, kind: str) -> Path:
    """Find a model directory or bundle by path, or by its name in the workspace.

    Raises:
        UnknownError: there is none; the message names the nearest, or says what the folder is.
    """
    places = (Path(reference), root() / reference)
    for path in places:
        writing.recover(path)
        if kind_of(path) == kind:
            return path
    manifest = next(name for name, known in _KINDS.items() if known == kind)
    for path in places:
        if _is_folder(path):
            what = {"model": "model directory", "bundle": "bundle"}[kind]
            raise UnknownError(f"{path} is no {what}: it has no {manifest}")
    if entries(kind):
        raise unknown(kind, reference, [path.name for path in entries(kind)], _ELSEWHERE)
    raise UnknownError(
        f"no {kind} named {reference!r}, and none in {root()} yet; make one with {_VERBS[kind]}, "
        "or name a folder (BMC_HOME says where the workspace is)"
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def _written(path: Path) -> float:
    return max((path / name).stat().st_mtime for name in _KINDS if (path / name).is_file())
