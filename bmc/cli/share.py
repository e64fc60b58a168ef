"""bmc share"""

from __future__ import annotations

from bmc.common_options import ModelName
from bmc.rendering.rendered import Rendered, render_result
from bmc.workflows.options import CompressedFiles, OwnCode, Sharing
from bmc.workflows.tuning import Tuning


def share(
    model: ModelName = None,
    *,
    sharing: Sharing = Sharing(),
    tuning: Tuning = Tuning(),
    files: CompressedFiles = CompressedFiles(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Factorize or share a model's parameters, then fine-tune it.

    Example:
        bmc share bert-movie-reviews --set energy=0.8
        bmc share bert-movie-reviews --method layers --set group=3 --distill
    """
    from bmc.rendering import bundles as render
    from bmc.workflows import share as workflow

    return render_result(render.compressed, workflow.share, model, sharing, tuning, files)
