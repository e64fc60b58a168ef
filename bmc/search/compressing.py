"""Search for the smallest or fastest model within budgets: what `bmc compress` does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bmc import artifact, console, targets, workspace, writing
from bmc.data import Dataset
from bmc.errors import GateError, MissingError, UsageError
from bmc.model import Model
from bmc.recipes.store import StepStore
from bmc.search import finalists, picture, result, timing
from bmc.search.budgets import Budgets, Measured
from bmc.search.chain import Origin
from bmc.search.exporting import without_test
from bmc.search.halving import efforts_of
from bmc.search.objective import Objective
from bmc.search.options import SearchOptions
from bmc.search.probe import space_of
from bmc.search.result import Found
from bmc.search.space import Space
from bmc.search.study import Study
from bmc.search.subject import check_model, data_settings
from bmc.search.trials import Trials
from bmc.workflows.export import check_targets
from bmc.workflows.lineage import data_of, weights_sha256
from bmc.workflows.options import Files
from bmc.workflows.outputs import refuse_output

_SHARE = 0.6  # of the time, for trials; the rest is for the finalists
_BASE = "base"


@dataclass(frozen=True)
class _Places:
    """Where a search writes.

    Args:
        output: the model directory of the best model, without its number.
        folder: folder of the study, the picture and the result.
    """

    output: Path
    folder: Path

    def numbered(self, count: int) -> list[Path]:
        """Return the model directories of the front: NAME-1, NAME-2 and so on."""
        return [self.output.with_name(f"{self.output.name}-{at + 1}") for at in range(count)]


def compress(
    reference: str | None,
    target: str,
    budgets: Budgets = Budgets(),  # noqa: B008  frozen
    options: SearchOptions = SearchOptions(),  # noqa: B008  frozen
    files: Files = Files(),  # noqa: B008  frozen
) -> Found:
    """Search for a compressed model within budgets, and write the Pareto front as bundles.

    Techniques, their order and their settings are chosen by Optuna. Candidates are scored on
    validation rows and timed on the target; the test split is read once, when the bundles of the
    front are written. A search that was stopped resumes when it is called again with the same
    arguments.

    Args:
        reference: a model directory, or a model's name in the workspace; the newest when None.
        target: name of the target.
        budgets: what the model may lose and cost.
        options: how the search is run.
        files: present location of the model's data, and the output; the default is
            MODEL-compressed in the workspace, whose models are MODEL-compressed-1 and so on.

    Raises:
        UnknownError: there is no such model or target.
        UsageError: the model cannot be compressed or searched for, the budgets are met as it is, or
            the storage holds another search.
        MissingError: the target does not run here, so no latency can be measured.
        GateError: no model within the budgets was found; the nearest is kept as NAME.failed.
    """
    check_targets([target], None)
    if not targets.load(target).available().devices:
        raise MissingError(
            f"{target} runs on no device here, so no latency can be measured: "
            f"{targets.load(target).available().note}"
        )
    folder = workspace.find(reference, "model") if reference else workspace.newest("model")
    if not reference:
        console.note(f"compress: {folder}, the newest model")
    model = artifact.load(folder)
    check_model(folder, model)
    output = files.output or workspace.root() / f"{workspace.slug(folder.name)}-compressed"
    places = _Places(output, output.with_name(f"{output.name}-search"))
    writing.hold(places.folder)
    if files.force:
        _begin_anew(places)
    before = result.read(places.folder)
    if before is None:
        for path in places.numbered(1):
            refuse_output(path, files.force, source=folder)
            refuse_output(path.with_name(f"{path.name}-{target}"), files.force, source=folder)
    data = without_test(data_of(folder, files.data))
    console.note("finding out what this model can be compressed with")
    space = space_of(folder, data, target)
    _check_space(space, folder)
    identity = {
        "model": weights_sha256(folder),
        "data": data.fingerprint,
        "target": target,
        "budgets": budgets.to_json(),
        "space": space.digest(),
        "sampler": options.sampler,
        "seed": options.seed,
        "threads": list(options.threads),
    }
    objectives = budgets.objectives()
    storage = options.storage or f"sqlite:///{(places.folder / 'study.db').absolute()}"
    study = Study(storage, identity, objectives, options.sampler, options.seed)
    if before is not None and _is_over(study, options):
        return _checked(before)
    return _checked(_search(folder, model, data, space, study, budgets, options, target, places))


def _search(
    folder: Path,
    model: Model,
    data: Dataset,
    space: Space,
    study: Study,
    budgets: Budgets,
    options: SearchOptions,
    target: str,
    places: _Places,
) -> Found:
    """Run the trials, then the finalists, and publish the front."""
    store = StepStore(str(places.folder / "steps"))
    objective = Objective(folder, data, target, places.folder, options.threads, store)
    recorded = study.kept(_BASE)
    base = objective.begin(recorded["milliseconds"] if recorded else None)
    base = Measured(**recorded) if recorded else base
    limits = budgets.limits(base)
    study.keep(_BASE, {"drop": 0.0, "bytes": base.bytes, "milliseconds": base.milliseconds})
    rungs, full = efforts_of(model)
    origin = Origin(str(folder.absolute()), data_settings(model.data), data.kind == "text")
    trials = Trials(
        space,
        study,
        objective,
        origin,
        rungs,
        limits,
        budgets.objectives(),
        budgets.minimize,
        base,
        options.seed,
    )
    seconds = 60 * options.minutes
    trials.run(_SHARE * seconds, options.trials)
    started = time.monotonic()
    chosen = finalists.choose(trials)
    if not chosen:
        raise UsageError(
            f"none of {len(study.trials())} trials could be measured; more --minutes or --trials "
            f"try others ({places.folder} has the reasons)"
        )
    end = started + seconds - study.seconds
    trained = finalists.train(trials, chosen, options.finalists, full, end)
    if not trained:
        raise UsageError("no finalist could be trained in full; more --trials try others")
    trained, latency = finalists.time_in_turn(trials, trained, timing.FINAL)
    base = Measured(0.0, base.bytes, latency)
    limits = budgets.limits(base)
    front, sentence = finalists.front_of(trained, limits, budgets)
    _remove_earlier(places)
    winners = finalists.publish(trials, front, limits, places.numbered(len(front)))
    study.spend(time.monotonic() - started)
    shown_front = {winner.candidate for winner in winners}
    drawn = picture.write(places.folder, study.complete(), base, limits, shown_front)
    found = Found(
        model=folder,
        target=target,
        budgets=budgets,
        base=base,
        base_score=objective.score,
        winners=tuple(winners),
        trials=len(study.trials()),
        failed=len(study.trials()) - len(study.complete()),
        seconds=round(study.seconds, 1),
        folder=places.folder,
        picture=drawn,
        sentence=sentence,
        left_out=space.left_out,
    )
    result.write(found)
    for path in (objective.baseline, *places.folder.glob("finalist-*")):
        writing.remove(path)
    return found


def _check_space(space: Space, folder: Path) -> None:
    if space.is_empty():
        reasons = "; ".join(f"{name}: {reason}" for name, reason in space.left_out.items())
        raise UsageError(f"nothing makes {folder} smaller or faster ({reasons})")


def _is_over(study: Study, options: SearchOptions) -> bool:
    """Tell whether a finished search has used up its time or its trials."""
    is_enough = options.trials is not None and len(study.trials()) >= options.trials
    return is_enough or study.seconds >= _SHARE * 60 * options.minutes


def _checked(found: Found) -> Found:
    """Return a result whose budgets are met.

    Raises:
        GateError: no model within the budgets was found.
    """
    if found.is_met:
        return found
    kept = found.winners[0].bundle
    raise GateError(f"{found.sentence}. Kept as {kept}", "budget", found)


def _begin_anew(places: _Places) -> None:
    """Remove an earlier search and its models."""
    _remove_earlier(places)
    writing.remove(places.folder)


def _remove_earlier(places: _Places) -> None:
    """Remove the models and bundles of an earlier result of this search."""
    before = result.read(places.folder)
    for winner in before.winners if before else ():
        for path in (winner.model, winner.bundle):
            if workspace.kind_of(path) is not None:
                writing.remove(path)
