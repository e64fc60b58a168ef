"""Prune a model, then fine-tune what is left; the ratio may be searched."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bmc import console, workspace
from bmc.inspect import kept, sensitivity
from bmc.inspect.sensitivity import Sensitivity
from bmc.model import Model, Step, Work
from bmc.training.batches import Rows
from bmc.workflows.budgets import Budget, check_budgets
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.options import Files, Pruning
from bmc.workflows.ratio_search import SEARCHED, Search
from bmc.workflows.results import Compressed
from bmc.workflows.sizes import Size
from bmc.workflows.tuning import Tuning

_ROWS = 512


def prune(
    reference: str | None,
    pruning: Pruning = Pruning(),  # noqa: B008  frozen
    tuning: Tuning = Tuning(),  # noqa: B008  frozen
    files: Files = Files(),  # noqa: B008  frozen
) -> Compressed:
    """Prune a model, fine-tune it, and write its model directory.

    With a budget, or with `tuning.max_drop` and no ratio, the ratio is searched.

    Args:
        reference: a model directory, or a model's name in the workspace; the newest when None.
        pruning: the technique, its settings, and what the pruned model may cost at most.
        tuning: settings of the fine-tuning.
        files: present location of the model's data, and the output; the default is MODEL-METHOD in
            the workspace.

    Raises:
        UnknownError: there is no such model or technique.
        SettingError: a setting or a budget is out of range.
        GateError: a budget was not met, or more was lost than `tuning.max_drop`; the model is kept
            as NAME.failed.
    """
    method = pruning.method
    technique = step_class("prune", method)
    settings = settings_of(technique, method, pruning.settings, {"ratio": pruning.ratio})
    step: Step = technique(**settings)  # a wrong setting is refused before the model is loaded
    limits = {
        "macs": pruning.target_macs,
        "params": pruning.target_params,
        "size": pruning.target_size,
    }
    budgets = tuple(Budget(quantity, text) for quantity, text in limits.items() if text is not None)
    check_budgets(method, settings, budgets)
    folder = workspace.find(reference, "model") if reference else workspace.newest("model")
    decided = {"ratio", "layers"} if method == "depth" else {"ratio"}
    by_drop = tuning.max_drop is not None and method in SEARCHED and not decided & settings.keys()

    def choose(model: Model, work: Work) -> Step:
        search = Search(
            method, technique, settings, model, work, lambda: _sensitivity(folder, model, work)
        )
        chosen = step
        if budgets:
            chosen = technique(**search.for_budgets(budgets))
        elif by_drop and tuning.max_drop is not None and model.has_labels:
            chosen = technique(**search.for_drop(tuning.max_drop, tuned=tuning.epochs > 0))
        return chosen

    def missed(before: Size, after: Size) -> str:
        return "; ".join(filter(None, (budget.missed(before, after) for budget in budgets)))

    return compress("prune", method, str(folder), choose, tuning, files, missed)


def _sensitivity(folder: Path, model: Model, work: Work) -> Sensitivity | None:
    """Return how much each layer matters; it is measured where `bmc inspect` has not yet.

    A generator has no score that a layer could lose.
    """
    if not model.has_labels:
        return None
    part = work.data.validation
    measured = kept.read(folder, work.data.fingerprint, min(_ROWS, len(part)))
    if measured is None:
        drawn = np.random.default_rng(0).permutation(len(part))[:_ROWS]
        places = np.sort(drawn).tolist()
        console.note(f"measuring how much each layer matters, on {len(places)} validation rows")
        rows, labels = ([values[index] for index in places] for values in (part.rows, part.labels))
        measured = sensitivity.measure(model, Rows(rows, labels, model.encoder))
        kept.write(folder, measured, work.data.fingerprint)
    return measured
