"""bmc export"""

from __future__ import annotations

from typing import Annotated

from bmc.cli.choices import plugin
from bmc.cli.options import Answer, CodedWriting, DataPath, ModelName
from bmc.contracts.targets import TARGETS

_TARGET = plugin(TARGETS, commas=True)
PANEL = "Bundle"


def export(
    model: ModelName = None,
    *,
    target: Annotated[tuple[str, ...], _TARGET],
    data: DataPath = None,
    opset: int | None = None,
    max_batch: int = 16,
    allow_slower: bool = False,
    common: CodedWriting = CodedWriting(),
) -> Answer:
    """Export a model to a target, and check that it gives the same outputs.

    The bundle is run on the whole test split. Its outputs are compared with PyTorch's, and its
    scores are computed from them. If they differ by more than the precision explains, the exit code
    is 1 and the bundle is kept as NAME.failed.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        target: target run time; several are possible, also separated by commas.
        data: where the model's training data is now, if it was moved.
        opset: ONNX opset, 18 to 23. The default is 18, and 23 for ONNX Runtime where the model has
            attention, which is a single operator then.
        max_batch: largest batch that a TensorRT engine is built for.
        allow_slower: accept a quantized bundle that is slower than its fp32 export; otherwise that
            is exit 1, and the bundle is kept as NAME.failed. It is not needed for methods that
            reduce size (weights, fp16, bf16).

    Example:
        bmc export tiny-movie-reviews --target onnx,openvino
        bmc export bert-movie-reviews-static --target onnx -o bundle
    """
    from bmc.cli.shown.bundles import exported
    from bmc.export import ExportOptions
    from bmc.workflows import export as workflow

    common.begin()
    options = ExportOptions(opset, max_batch, allow_slower)
    return exported(
        workflow.export(model, target, options, data, common.output, common.force).bundles
    )
