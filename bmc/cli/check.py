"""bmc check"""

from __future__ import annotations

from bmc.common_options import BundleName
from bmc.rendering.rendered import Rendered, render_result
from bmc.workflows.options import Checking, OwnCode


def check(
    bundle: BundleName = None,
    *,
    checking: Checking = Checking(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Check a bundle on this device: checksums, golden rows and golden outputs.

    The sha256 of every file is compared. Then the golden rows, which the bundle stores with the
    tensors, outputs and labels of the export, are preprocessed and run again and compared. A
    TensorRT engine of another TensorRT version or GPU is rebuilt from the bundle's ONNX file first.

    Example:
        bmc check tiny-movie-reviews-onnx
        bmc check ./bundle-from-somebody-else --isolated
    """
    from bmc.rendering import checks as render
    from bmc.workflows import check as workflow

    return render_result(render.checked, workflow.check, bundle, checking)
