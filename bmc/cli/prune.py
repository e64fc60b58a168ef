"""bmc prune"""

from __future__ import annotations

from bmc.cli._common import Answer, Writing
from bmc.cli._compress import Set, compress, settings_of, step_class
from bmc.cli._tuning import Tuning
from bmc.model import Model, Step, Work


def prune(
    model: str | None = None,
    *,
    method: str = "structured",
    ratio: float | None = None,
    set_: Set = (),
    tuning: Tuning = Tuning(),  # noqa: B008  frozen
    data: str | None = None,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Remove what a model can do without, then fine-tune what is left.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: structured, depth, unstructured, movement, nm, or vocabulary.
        ratio: share that is removed, 0 to 1: of channels, hidden units and heads (structured), of
            layers (depth), of weights (unstructured, movement).
        set_: a setting of the method, NAME=VALUE, such as criterion=taylor; several are possible.
        data: the data that the model was trained on, if it is not where it was.
    """
    common.begin()
    technique = step_class("prune", method)
    settings = settings_of(technique, method, set_, {"ratio": ratio})
    step: Step = technique(**settings)  # a wrong setting is said before anything is loaded

    def choose(loaded: Model, work: Work) -> Step:
        return step

    return compress("prune", method, model, choose, tuning, data, common)
