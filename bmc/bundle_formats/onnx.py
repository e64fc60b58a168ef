"""ONNX files, which ONNX Runtime loads."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from bmc.bundle_formats._names import check_suffix
from bmc.contracts import Format
from bmc.errors import ArtifactError
from bmc.onnx_files import external_files
from bmc.untrusted import open_regular


def files(folder: Path, model: str) -> tuple[str, ...]:
    """Return the paths of an ONNX file and of the external data files that it names.

    Paths are relative to the bundle. `bmc.bundle` checks that the manifest lists every path, and
    the manifest can list no file outside the bundle.

    Args:
        folder: the bundle.
        model: path of the ONNX file in the bundle.

    Raises:
        ArtifactError: the file is empty or is not an ONNX file.
    """
    check_suffix(folder, model, ".onnx", "an ONNX file")
    with open_regular(folder / model, f"bundle {folder}") as file:
        if not file.read(1):
            raise ArtifactError(f"ONNX Runtime cannot load {folder / model}: it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            locations = _external_files(content, str(folder / model))
    parent = PurePosixPath(model).parent
    return (model, *((parent / location).as_posix() for location in sorted(locations)))


def packed(read: Callable[[str], bytes], model: str) -> bool:
    """Tell whether ONNX Runtime loads a packed bundle's model from memory: it names no other file.

    Args:
        read: function that returns the bytes of a file of the bundle.
        model: path of the ONNX file in the bundle.

    Raises:
        ArtifactError: the file is not an ONNX file.
    """
    check_suffix(None, model, ".onnx", "an ONNX file")
    content = read(model)
    if not content:
        raise ArtifactError(f"ONNX Runtime cannot load {model}: it is empty")
    return not _external_files(content, model)


def _external_files(content: mmap.mmap | bytes, name: str) -> set[str]:
    """Return the locations of the external data of an ONNX file.

    Raises:
        ArtifactError: the content is not an ONNX file.
    """
    try:
        return external_files(content)
    except ValueError as error:
        raise ArtifactError(
            f"ONNX Runtime cannot load {name}: it is not an ONNX file ({error})"
        ) from error


FORMAT = Format(
    about="ONNX Runtime on the CPU",
    session="bmc.targets.onnx",
    exporter="bmc.export.onnx",
    files=files,
    packed=packed,
    dialect="bmc.export.dialects.onnx",  # how it wants quantized layers to be written
    has_mobile=True,
)
