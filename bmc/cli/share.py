"""bmc share"""

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
_METHOD = plugin(techniques("share"))


def share(
    model: ModelName = None,
    *,
    method: Annotated[str, _METHOD] = "lowrank",
    set_: Set = (),
    tuning: TuningOptions = TuningOptions(),
    data: DataPath = None,
    common: CodedWriting = CodedWriting(),
) -> Answer:
    """Factorize or share a model's parameters, then fine-tune it.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: lowrank factorizes linear layers and convolutions; embedding factorizes the word
            embeddings; layers shares parameters across layers; cluster replaces weights by
            codebooks; tie shares parameters of equal shape.
        set_: a setting of the method, such as energy=0.8; several are possible.
        data: where the model's training data is now, if it was moved.

    Example:
        bmc share bert-movie-reviews --set energy=0.8
        bmc share bert-movie-reviews --method layers --set group=3 --distill
    """
    from bmc.cli.shown.models import compressed
    from bmc.workflows import share as workflow

    common.begin()
    options = pairs_of(set_)
    return compressed(
        workflow.share(model, method, options, tuning, data, common.output, common.force)
    )
