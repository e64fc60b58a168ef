"""Pack bundles into single files, and unpack them."""

from __future__ import annotations

from pathlib import Path

from bmc.api._calls import call, path_of
from bmc.api.handles import BundleHandle, reference_of
from bmc.workflows import pack as workflow
from bmc.workflows.options import PackedOutput, UnpackedOutput


def pack(
    bundle: BundleHandle | str | Path, output: str | Path | None = None, force: bool = False
) -> Path:
    """Pack a bundle into one .bmc file, which `bmc.load` loads.

    The file is a zip archive without compression. The same bundle gives the same bytes.

    Args:
        bundle: handle, folder or workspace name of the bundle.
        output: file to write, NAME.bmc; the bundle's folder with .bmc appended when None.
        force: replace the output if it exists.

    Returns:
        the path of the file.

    Raises:
        UnknownError: there is no such bundle.
        ArtifactError: the bundle is damaged.
        UsageError: the output exists, or the bundle has 4 GiB or more.

    Example:
        >>> path = bmc.pack("tiny-movie-reviews-onnx", "reviews.bmc")
        >>> classify = bmc.load(path)
    """
    with call(False, None, bundle, alone="bmc.pack"):
        result = workflow.pack(reference_of(bundle), PackedOutput(path_of(output), force))
    return result.path


def unpack(path: str | Path, output: str | Path | None = None, force: bool = False) -> BundleHandle:
    """Unpack a .bmc file into the folder of a bundle, after its checksums were compared.

    Args:
        path: the file, or its name in the workspace.
        output: folder to write; a folder of the workspace with the file's name when None.
        force: replace the output if it exists.

    Returns:
        a handle of the bundle.

    Raises:
        UnknownError: there is no such file.
        ArtifactError: the file is not a packed bundle, or is damaged.
        UsageError: the output exists.

    Example:
        >>> bundle = bmc.unpack("reviews.bmc", "reviews-onnx")
    """
    with call(False, None, alone="bmc.unpack"):
        result = workflow.unpack(str(path), UnpackedOutput(path_of(output), force))
    return BundleHandle(result.path)
