"""bmc export"""

from __future__ import annotations

from typing import Annotated

from bmc.choices import of_plugins
from bmc.common_options import ModelName
from bmc.contracts.export_options import ExportOptions
from bmc.contracts.targets import TARGETS
from bmc.rendering.rendered import Rendered, render_result
from bmc.workflows.options import OwnCode, SampledFiles

PANEL = "Bundle"


def export(
    model: ModelName = None,
    *,
    target: Annotated[tuple[str, ...], of_plugins(TARGETS, commas=True)],
    options: ExportOptions = ExportOptions(),
    files: SampledFiles = SampledFiles(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Export a model to a target, and check its outputs and scores.

    The bundle is run on the whole test split. Its outputs are compared with PyTorch's, and its
    scores are computed from them. If the outputs differ by more than the tolerance of their
    precision, the exit code is 1 and the bundle is kept as NAME.failed.

    Args:
        target: target runtime; several are possible, also separated by commas.

    Example:
        bmc export tiny-movie-reviews --target onnx,openvino
        bmc export model.onnx --target onnx,openvino --samples rows.npz
    """
    from bmc.rendering import bundles as render
    from bmc.workflows import export as workflow

    return render_result(render.exported, workflow.export, model, target, options, files)
