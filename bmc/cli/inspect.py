"""bmc inspect"""

from __future__ import annotations

from bmc.common_options import ModelName
from bmc.inspect.settings import InspectSettings
from bmc.rendering.rendered import Rendered
from bmc.workflows.options import Files, OwnCode


def inspect(
    model: ModelName = None,
    *,
    settings: InspectSettings = InspectSettings(),
    files: Files = Files(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Inspect a model: cost by layer, activations, feature importance, sensitivity.

    The command writes an HTML page that opens offline. It reads validation rows, never test rows.
    Times are measured in eager PyTorch, fp32, on the CPU: use them to compare layers, and
    `bmc bench` for the latency of bundles.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out. Of a
            bundle, the precision of each operator that runs; of an ONNX file, the cost by layer.

    Example:
        bmc inspect bert-movie-reviews --sensitivity
        bmc inspect bert-movie-reviews-static-onnx
    """
    from bmc.rendering import inspection as render
    from bmc.workflows import inspect as workflow

    return render.inspected(workflow.inspect(model, settings, files))
