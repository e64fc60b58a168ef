"""Check the name of a model file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from bmc.errors import ArtifactError


def check_suffix(folder: Path | None, model: str, suffix: str, what: str) -> None:
    """Check that a model file has the suffix of its format; runtimes detect the format by it.

    Args:
        folder: the bundle, for the message; None for a packed bundle.
        model: path of the model file in the bundle.
        suffix: the expected suffix, such as ".onnx".
        what: name of the format with its article, such as "an ONNX file".

    Raises:
        ArtifactError: the suffix differs.
    """
    if PurePosixPath(model).suffix != suffix:
        bundle = "packed bundle" if folder is None else f"bundle {folder}"
        raise ArtifactError(f"{bundle}: its model {model!r} is not {what} ({suffix})")
