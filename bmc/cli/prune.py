"""bmc prune"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bmc import console, workspace
from bmc.cli._common import Answer, Set, TuningOptions, Writing, pairs_of
from bmc.cli._shown import compressed
from bmc.compress.prune._search import SEARCHED, Search
from bmc.compress.prune._targets import Target, check_targets
from bmc.inspect import kept, sensitivity
from bmc.inspect.sensitivity import Sensitivity
from bmc.model import Model, Step, Work
from bmc.training.batches import Rows
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.sizes import Size

_ROWS = 512


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
    technique = step_class("prune", method)
    settings = settings_of(technique, method, pairs_of(set_), {"ratio": ratio})
    step: Step = technique(**settings)  # a wrong setting is said before anything is loaded
    typed = {"macs": target_macs, "params": target_params, "size": target_size}
    targets = tuple(Target(what, text) for what, text in typed.items() if text is not None)
    check_targets(method, settings, targets)
    folder = workspace.find(model, "model") if model else workspace.newest("model")
    decided = {"ratio", "layers"} if method == "depth" else {"ratio"}
    by_drop = tuning.max_drop is not None and method in SEARCHED and not decided & settings.keys()

    def choose(loaded: Model, work: Work) -> Step:
        search = Search(
            method, technique, settings, loaded, work, lambda: _measured(folder, loaded, work)
        )
        found = settings
        if targets:
            found = search.for_targets(targets)
        elif by_drop and tuning.max_drop is not None and loaded.task != "generation":
            found = search.for_drop(tuning.max_drop, tuned=tuning.epochs > 0)
        return step if found is settings else technique(**found)

    def missed(before: Size, after: Size) -> str:
        return "; ".join(filter(None, (target.missed(before, after) for target in targets)))

    made = compress(
        "prune",
        method,
        str(folder),
        choose,
        tuning,
        data,
        common.output,
        common.force,
        missed,
    )
    return compressed(made)


def _measured(folder: Path, model: Model, work: Work) -> Sensitivity | None:
    """Return how much each layer matters, from what inspect measured; measure it where it did not.

    A generator has no score that a layer could lose.
    """
    if model.task == "generation":
        return None
    part = work.data.validation
    found = kept.read(folder, work.data.fingerprint, min(_ROWS, len(part)))
    if found is None:
        drawn = np.random.default_rng(0).permutation(len(part))[:_ROWS]
        places = np.sort(drawn).tolist()
        console.note(f"measuring how much each layer matters, on {len(places)} validation rows")
        rows, labels = ([values[place] for place in places] for values in (part.rows, part.labels))
        found = sensitivity.measure(model, Rows(rows, labels, model.encoder))
        kept.write(folder, found, work.data.fingerprint)
    return found
