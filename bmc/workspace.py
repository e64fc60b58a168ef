"""The workspace: the folder into which commands write, and in which they look for names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bmc import writing
from bmc.errors import UnknownError, UsageError, unknown
from bmc.files import BUNDLE_MANIFEST as BUNDLE_MANIFEST
from bmc.files import MODEL_MANIFEST as MODEL_MANIFEST
from bmc.packed import is_packed

_VERBS = {"model": "bmc train", "bundle": "bmc export"}
_ELSEWHERE = "name one that --output wrote elsewhere by its path"
_WHAT = {"model": "model directory", "bundle": "bundle"}
_KINDS = {MODEL_MANIFEST: "model", BUNDLE_MANIFEST: "bundle"}


def root() -> Path:
    """Return the workspace: BMC_HOME, or ./bmc-runs."""
    return Path(os.environ.get("BMC_HOME") or "bmc-runs")


def checkpoints_of(output: Path) -> Path:
    """Return the folder for the checkpoints of the command that writes `output`."""
    return output.absolute().parent / ".checkpoints" / output.name


def cache() -> Path:
    """Return the folder for files that can be computed again."""
    return root() / ".cache"


def runs() -> Path:
    """Return the folder for the samples of measurements."""
    return root() / ".bench"


def slug(text: str) -> str:
    """Turn a model's or data set's reference, or a path, into a folder name."""
    return (
        re.sub(r"[^A-Za-z0-9._-]+", "-", Path(text.removeprefix("hf:")).name).strip("-.") or "model"
    )


def entries(kind: str, failed: bool = False) -> list[Path]:
    """List the model directories or bundles in the workspace, newest last.

    Args:
        kind: "model" or "bundle".
        failed: list only outputs that failed a check (NAME.failed), instead of all others.
    """
    if not root().is_dir():
        return []
    paths = [
        path
        for path in root().iterdir()
        if not path.name.startswith(".")
        and path.name.endswith(".failed") == failed
        and kind_of(path) == kind
    ]
    return sorted(paths, key=lambda path: (_written(path), path.name))


def kind_of(path: Path) -> str | None:
    """Return "model" for a model directory, "bundle" for a bundle, None for any other path."""
    for manifest, kind in _KINDS.items():
        with suppress(OSError):  # raised for a name that is too long
            if (path / manifest).is_file():
                return kind
    return None


def newest(kind: str) -> Path:
    """Return the newest model directory or bundle in the workspace.

    Args:
        kind: "model" or "bundle".

    Raises:
        UnknownError: the workspace has none.
    """
    paths = entries(kind)
    if not paths:
        raise UnknownError(
            f"no {kind} in {root()} yet; make one with {_VERBS[kind]}, or name a folder"
        )
    return paths[-1]


def candidates(reference: str | Path) -> tuple[Path, Path]:
    """Return what a path or a name in the workspace may mean, in the order of precedence.

    A path without a name, such as ".", is that of the folder.
    """
    path = Path(reference)
    return path if path.name not in ("", "..") else path.resolve(), root() / reference


def find(reference: str | None, kind: str, packed: bool = False) -> Path:
    """Find a model directory or bundle by path, or by its name in the workspace.

    Args:
        reference: path or name; None for the newest.
        kind: "model" or "bundle".
        packed: whether a packed bundle is meant, too.

    Raises:
        UnknownError: there is no such bundle or model; the message names the most similar name, or
            says why the folder is neither.
    """
    if reference is None:
        return newest(kind)
    paths = candidates(reference)
    for path in paths:
        writing.recover(path)
        if kind_of(path) == kind:
            return path
        if is_packed(path):
            if packed and kind == "bundle":
                return path
            raise UnknownError(
                f"{path} is a packed bundle, which bmc check, bmc predict and bmc.load take; "
                f"bmc unpack {path} makes the folder that other commands take"
            )
    for path in paths:
        if path.suffix.lower() == ".onnx" and _is_file(path):
            raise UnknownError(
                f"{path} is an ONNX file, not a {_WHAT[kind]}; bmc inspect {path} shows it, and "
                f"bmc export {path} --target onnx --samples ROWS.npz makes a bundle of it"
            )
    manifest = next(name for name, value in _KINDS.items() if value == kind)
    for path in paths:
        if _is_folder(path):
            is_encoder = kind == "model" and _is_file(path / "config.json")
            hint = f"; a Hugging Face folder is read by bmc train {path}" if is_encoder else ""
            raise UnknownError(f"{path} is not a {_WHAT[kind]}: it has no {manifest}{hint}")
    if entries(kind):
        raise unknown(kind, reference, [path.name for path in entries(kind)], _ELSEWHERE)
    raise UnknownError(
        f"no {kind} named {reference!r}, and none in {root()} yet; make one with {_VERBS[kind]}, "
        "or name a folder (BMC_HOME says where the workspace is)"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # raised for a name that is too long
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # raised for a name that is too long
        return False


def _written(path: Path) -> float:
    return max((path / name).stat().st_mtime for name in _KINDS if (path / name).is_file())


def refuse_equal_names(folders: Sequence[Path]) -> None:
    """Refuse bundles whose folders have one name, by which their figures are told apart.

    Raises:
        UsageError: two folders have one name.
    """
    counts = Counter(folder.name for folder in dict.fromkeys(folders))
    twice = next((name for name, count in counts.items() if count > 1), "")
    if twice:
        raise UsageError(f"two bundles are named {twice}: rename one, or take each alone")
