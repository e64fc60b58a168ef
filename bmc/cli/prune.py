"""bmc prune"""

from __future__ import annotations

from bmc.cli._common import Answer, Set, TuningOptions, Writing, pairs_of
from bmc.cli._shown import compressed
from bmc.workflows import prune as workflow


def prune(
    model: str | None = None,
    *,
    method: str = "structured",
    ratio: float | None = None,
    target_macs: str | None = None,
    target_params: str | None = None,
    target_size: str | None = None,
    set_: Set = (),
    tuning: TuningOptions = TuningOptions(),  # noqa: B008  frozen
    data: str | None = None,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Remove what a model can do without, then fine-tune what is left.

    With a target, or with --max-drop and no ratio, the ratio is searched. Structured pruning cuts
    the layers by what `bmc inspect MODEL --sensitivity` measured (it is measured where it was not):
    more of those that lose little. Under --max-drop alone, the score right after pruning may fall
    by three times as much as is allowed once the model is fine-tuned; the end is checked.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: structured, depth, unstructured, movement, nm, or vocabulary.
        ratio: share that is removed, 0 to 1: of channels, hidden units and heads (structured), of
            layers (depth), of weights (unstructured, movement).
        target_macs: multiply-accumulates of one row (32 tokens or steps) at most, such as 50M, or
            0.25x for a quarter of now (structured, depth).
        target_params: parameters at most, likewise.
        target_size: bytes of the weights at most, such as 500kB, 2MB or 0.25x, likewise.
        set_: a setting of the method, NAME=VALUE, such as criterion=taylor; several are possible.
        data: the data that the model was trained on, if it is not where it was.
    """
    common.begin()
    options = pairs_of(set_)
    budgets = {"macs": target_macs, "params": target_params, "size": target_size}
    return compressed(
        workflow.prune(
            model, method, options, ratio, budgets, tuning, data, common.output, common.force
        )
    )
