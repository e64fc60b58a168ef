"""bmc prune"""

from __future__ import annotations

from bmc.common_options import ModelName
from bmc.rendering.rendered import Rendered, render_result
from bmc.workflows.options import CompressedFiles, OwnCode, Pruning
from bmc.workflows.tuning import Tuning


def prune(
    model: ModelName = None,
    *,
    pruning: Pruning = Pruning(),
    tuning: Tuning = Tuning(),
    files: CompressedFiles = CompressedFiles(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Prune a model, then fine-tune it.

    With --target-macs, --target-params or --target-size, or with --max-drop and no --ratio, the
    ratio is searched. Structured pruning
    prunes less sensitive layers more strongly; `bmc inspect MODEL --sensitivity` measures the
    sensitivity, and runs first if needed. With --max-drop alone, the search accepts a drop of three
    times --max-drop before fine-tuning; after fine-tuning --max-drop itself is enforced.

    Example:
        bmc prune cnn-fashion-mnist --target-macs 0.25x --distill
        bmc prune bert-movie-reviews --method depth --ratio 0.5 --distill
    """
    from bmc.rendering import bundles as render
    from bmc.workflows import prune as workflow

    return render_result(render.compressed, workflow.prune, model, pruning, tuning, files)
