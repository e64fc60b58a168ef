"""ONNX files, which ONNX Runtime loads."""

from __future__ import annotations

import mmap
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
            try:
                locations = external_files(content)
            except ValueError as error:
                raise ArtifactError(
                    f"ONNX Runtime cannot load {folder / model}: it is not an ONNX file ({error})"
                ) from error
    parent = PurePosixPath(model).parent
    return (model, *((parent / location).as_posix() for location in sorted(locations)))


FORMAT = Format(
    about="ONNX Runtime on the CPU",
    session="bmc.targets.onnx",
    exporter="bmc.export.onnx",
    files=files,
    dialect="bmc.export.dialects.onnx",  # how it wants quantized layers to be written
)
