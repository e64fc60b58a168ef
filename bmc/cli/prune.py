"""bmc prune"""

from __future__ import annotations

from bmc.cli.options import Answer, ModelName, OwnCode
from bmc.workflows.options import Files, Pruning
from bmc.workflows.tuning import Tuning


def prune(
    model: ModelName = None,
    *,
    pruning: Pruning = Pruning(),
    tuning: Tuning = Tuning(),
    files: Files = Files(),
    code: OwnCode = OwnCode(),
) -> Answer:
    """Prune a model, then fine-tune it.

    With a --target, or with --max-drop and no --ratio, the ratio is searched. Structured pruning
    removes more of the layers that are less sensitive, as `bmc inspect MODEL --sensitivity`
    measures (it is run if it was not). With --max-drop alone, the score may fall by three times as
    much right after pruning as it may after fine-tuning; the result is checked after fine-tuning.

    Example:
        bmc prune cnn-fashion-mnist --target-macs 0.25x --distill
        bmc prune bert-movie-reviews --method depth --ratio 0.5 --distill
    """
    from bmc.rendering import models as shown
    from bmc.workflows import prune as workflow

    return shown.compressed(workflow.prune(model, pruning, tuning, files))
