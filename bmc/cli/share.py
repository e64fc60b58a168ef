"""bmc share"""

from __future__ import annotations

from bmc.cli._common import Answer, Set, TuningOptions, Writing, pairs_of
from bmc.cli._shown import compressed
from bmc.workflows import share as workflow


def share(
    model: str | None = None,
    *,
    method: str = "lowrank",
    set_: Set = (),
    tuning: TuningOptions = TuningOptions(),  # noqa: B008  frozen
    data: str | None = None,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Factorise or share a model's parameters, then fine-tune what is left.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: layers, embedding, lowrank, cluster, or tie.
        set_: a setting of the method, NAME=VALUE, such as energy=0.8; several are possible.
        data: the data that the model was trained on, if it is not where it was.
    """
    common.begin()
    options = pairs_of(set_)
    return compressed(
        workflow.share(model, method, options, tuning, data, common.output, common.force)
    )
