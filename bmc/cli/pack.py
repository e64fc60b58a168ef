"""bmc pack"""

from __future__ import annotations

from bmc.common_options import BundleName
from bmc.rendering.rendered import Rendered
from bmc.workflows.options import PackedOutput


def pack(bundle: BundleName = None, *, output: PackedOutput = PackedOutput()) -> Rendered:
    """Pack a bundle into one .bmc file; bmc check, bmc predict and bmc.load take the file.

    The file is a zip archive without compression. The same bundle gives the same bytes.

    Example:
        bmc pack tiny-movie-reviews-onnx
        bmc pack tiny-movie-reviews-onnx --output reviews.bmc
    """
    from bmc.rendering import packing as render
    from bmc.workflows import pack as workflow

    return render.packed(workflow.pack(bundle, output))
