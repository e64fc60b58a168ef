"""Render the results of `bmc pack` and `bmc unpack`."""

from __future__ import annotations

from bmc.measure.shown import megabytes
from bmc.rendering.rendered import Rendered
from bmc.workflows.pack import PackedBundle, UnpackedBundle


def packed(result: PackedBundle) -> Rendered:
    """Render the file into which a bundle was packed."""
    content = {
        "output": str(result.path),
        "bundle": str(result.bundle),
        "bytes": result.bytes,
        "sha256": result.sha256,
    }
    return Rendered(
        content,
        (
            f"wrote {result.path}: {megabytes(result.bytes)}, sha256 {result.sha256}",
            f"next: bmc check {result.path}    or: bmc unpack {result.path}",
        ),
    )


def unpacked(result: UnpackedBundle) -> Rendered:
    """Render the folder of a bundle that was unpacked."""
    content = {"output": str(result.path), "packed": str(result.packed), "files": result.files}
    return Rendered(
        content,
        (f"wrote {result.path}: {result.files} files", f"next: bmc check {result.path}"),
    )
