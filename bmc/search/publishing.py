"""Publish the front: model directories, bundles that are scored on the test split, recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bmc import artifact, console, disk, writing
from bmc import bundle as bundles
from bmc.data import Examples
from bmc.errors import GateError, reason_of
from bmc.measure.scores import Interval
from bmc.model import Model
from bmc.recipes.running import run_step
from bmc.search import exporting, recipe
from bmc.search.budgets import Limits, shown
from bmc.search.chain import with_export
from bmc.search.finalists import Finalist
from bmc.search.result import Winner
from bmc.search.trials import Trials
from bmc.workflows.bundle_lines import scores_of


def publish(
    trials: Trials,
    front: Sequence[Finalist],
    limits: Limits,
    outputs: Sequence[Path],
    test: Examples,
) -> list[Winner]:
    """Write the models and bundles of the front; the test split is read here alone.

    A model that cannot be exported is left out.

    Args:
        trials: the trials.
        front: the finalists to publish, in order.
        limits: the budgets.
        outputs: path of the model directory of each; its bundle's is followed by the target.
        test: the rows of the test split.
    """
    base = artifact.load(trials.objective.model)
    reference = None
    if exporting.is_paired(base):
        reference = exporting.outputs_of(trials.objective.baseline, test)
    winners = []
    for finalist, output in zip(front, outputs, strict=False):
        target = trials.objective.target
        excess = limits.excess(finalist.measured)
        model = output.with_name(f"{output.name}.failed") if excess else output
        bundle = output.with_name(f"{output.name}-{target}")
        _copy(finalist.model, model)
        step = with_export((), replace(trials.origin, model=str(model)), target)[0]
        try:
            run_step(step, {}, bundle)
        except GateError as error:
            console.note(f"{output.name}: {reason_of(error)}")
            writing.remove(model)
            continue
        if excess:
            bundle = _failed(bundle, f"the budgets were not met: {shown(finalist.measured)}")
        path = trials.objective.folder / f"{output.name}.toml"
        text = recipe.text_of(output.name, finalist.words, finalist.steps, target)
        writing.write_atomically(path, text.encode())
        scores = dict(scores_of(bundles.read(bundle)))
        within = not excess
        winners.append(
            Winner(
                candidate=finalist.words,
                model=model,
                bundle=bundle,
                recipe=path,
                validation=finalist.measured,
                test=scores,
                within=within,
                test_lost=_lost(base, bundle, reference, test),
            )
        )
    return winners


def _lost(
    base: Model, bundle: Path, reference: NDArray[np.float32] | None, test: Examples
) -> Interval | None:
    """Return the points of the test score lost, paired; None where they have no interval."""
    if reference is None:
        return None
    with np.load(bundle / bundles.EVALUATION) as evaluation:
        outputs = evaluation["logits"]
    return exporting.points_lost(base, outputs, reference, test)


def _copy(source: Path, target: Path) -> None:
    """Copy a model directory; an earlier one is replaced in one step."""
    with writing.new_folder(target, force=True) as folder:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                copied = folder / path.relative_to(source)
                disk.make_folders(copied.parent)
                disk.copy(path, copied)


def _failed(bundle: Path, failure: str) -> Path:
    """Say in a bundle that it missed the budgets, as the report shows it; return its new path."""
    bundles.write(bundle, replace(bundles.read(bundle).manifest, failure=failure))
    failed = bundle.with_name(f"{bundle.name}.failed")
    writing.remove(failed)
    disk.rename(bundle, failed)
    return failed
