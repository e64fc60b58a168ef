"""bmc unpack"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered
from bmc.workflows.options import UnpackedOutput


def unpack(file: str, *, output: UnpackedOutput = UnpackedOutput()) -> Rendered:
    """Unpack a .bmc file into the folder of a bundle, after its checksums were compared.

    Args:
        file: the file that bmc pack wrote, or its name in the workspace.

    Example:
        bmc unpack tiny-movie-reviews-onnx.bmc
        bmc unpack reviews.bmc --output reviews-onnx
    """
    from bmc.rendering import packing as render
    from bmc.workflows import pack as workflow

    return render.unpacked(workflow.unpack(file, output))
