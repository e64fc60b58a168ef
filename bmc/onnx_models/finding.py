"""Tell whether a reference names an ONNX file, or a folder with one; needs no onnx package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bmc import workspace
from bmc.errors import UnknownError, UsageError

SUFFIX = ".onnx"
_PREFERRED = "model.onnx"
ENCODER_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""Files, one of which a folder with an encoder's weights has."""
ENCODER_FOLDERS = ("", "0_Transformer")
"""Where they are in a Hugging Face folder, and in some folders of sentence-transformers."""
_FOLDERS = ("", "onnx")  # exported Hugging Face models have their files in `onnx`


def find(reference: str | None) -> Path | None:
    """Return the ONNX file that a reference names; None for a reference to anything else.

    Args:
        reference: an .onnx file, or a folder that holds model.onnx or a single .onnx file and that
            is neither a model directory nor a bundle; also below the workspace.

    Raises:
        UnknownError: the reference ends with .onnx, and there is no such file.
        UsageError: a folder holds several .onnx files, none of which is named model.onnx.
    """
    if reference is None:
        return None
    paths = workspace.candidates(reference)
    if any(workspace.kind_of(path) for path in paths):
        return None
    for path in paths:
        if _is(path.is_dir):
            return _only_file(path)
        if path.suffix.lower() == SUFFIX and _is(path.is_file):
            return path
    if reference.lower().endswith(SUFFIX):
        raise UnknownError(
            f"no ONNX file {reference!r}; a relative path starts at the present folder, or at the "
            f"workspace {workspace.root()}"
        )
    return None


def names_file(reference: str) -> bool:
    """Tell whether a verb takes a reference for an ONNX file, there or not yet.

    The folder of an encoder's weights may hold ONNX files as well, and is the encoder.
    """
    folder = Path(reference)
    weights = (folder / place / name for place in ENCODER_FOLDERS for name in ENCODER_WEIGHTS)
    if not reference or any(_is(path.is_file) for path in weights):
        return False
    try:
        return find(reference) is not None
    except (UnknownError, UsageError):
        return True


def name_of(path: Path) -> str:
    """Return a model's name: that of its file, or of its folder if the file is model.onnx."""
    folder = path.absolute().parent
    folder = folder.parent if folder.name == _FOLDERS[1] else folder
    return folder.name if path.name == _PREFERRED and folder.name else path.stem


def _only_file(folder: Path) -> Path | None:
    for name in _FOLDERS:
        files = sorted((folder / name).glob(f"*{SUFFIX}"))
        preferred = [path for path in files if path.name == _PREFERRED]
        if preferred or len(files) == 1:
            return (preferred or files)[0]
        if files:
            names = ", ".join(path.name for path in files[:5])
            raise UsageError(f"{folder} holds several ONNX files ({names}); name one of them")
    return None


def _is(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (OSError, ValueError):  # a name that is too long, or that has a NUL
        return False
