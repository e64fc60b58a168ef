"""bmc prune"""

from __future__ import annotations

from typing import Annotated

from bmc.cli.choices import plugin
from bmc.cli.options import (
    Answer,
    CodedWriting,
    DataPath,
    ModelName,
    Set,
    TuningOptions,
    pairs_of,
)
from bmc.contracts.techniques import techniques

PANEL = "Method"
_METHOD = plugin(techniques("prune"))


def prune(
    model: ModelName = None,
    *,
    method: Annotated[str, _METHOD] = "structured",
    ratio: float | None = None,
    target_macs: str | None = None,
    target_params: str | None = None,
    target_size: str | None = None,
    set_: Set = (),
    tuning: TuningOptions = TuningOptions(),
    data: DataPath = None,
    common: CodedWriting = CodedWriting(),
) -> Answer:
    """Prune a model, then fine-tune it.

    With a --target, or with --max-drop and no --ratio, the ratio is searched. Structured pruning
    removes more of the layers that are less sensitive, as `bmc inspect MODEL --sensitivity`
    measures (it is run if it was not). With --max-drop alone, the score may fall by three times as
    much right after pruning as it may after fine-tuning; the result is checked after fine-tuning.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: structured removes channels, hidden units and heads; depth whole layers;
            unstructured and movement set single weights to zero; nm two of four neighbours;
            vocabulary removes words that the data never uses.
        ratio: fraction to remove, from 0 to 1: of channels, hidden units and heads (structured), of
            layers (depth), of weights (unstructured, movement).
        target_macs: multiply-accumulates per row (32 tokens or time steps) at most, such as 50M, or
            0.25x for a quarter of the model's (structured, depth).
        target_params: parameters at most, such as 5M or 0.25x (structured, depth).
        target_size: size of the weights at most, such as 500kB, 2MB or 0.25x (structured, depth).
        set_: a setting of the method, such as criterion=taylor; several are possible.
        data: where the model's training data is now, if it was moved.

    Example:
        bmc prune cnn-fashion-mnist --target-macs 0.25x --distill
        bmc prune bert-movie-reviews --method depth --ratio 0.5 --distill
    """
    from bmc.cli.shown.models import compressed
    from bmc.workflows import prune as workflow

    common.begin()
    options = pairs_of(set_)
    budgets = {"macs": target_macs, "params": target_params, "size": target_size}
    return compressed(
        workflow.prune(
            model, method, options, ratio, budgets, tuning, data, common.output, common.force
        )
    )
