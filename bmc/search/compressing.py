"""Search for the smallest or fastest model within budgets: what `bmc compress` does."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bmc import artifact, console, targets, workspace, writing
from bmc import data as datasets
from bmc.data import Examples
from bmc.errors import GateError, MissingError, UsageError
from bmc.model import Model
from bmc.quantization.weight_bits import WEIGHT_BITS
from bmc.recipes.content import of_data
from bmc.recipes.runner_choice import runner_on
from bmc.recipes.runners import InProcess, Runner
from bmc.recipes.store import StepStore
from bmc.search import finalists, picture, publishing, result, timing
from bmc.search.budgets import Budgets, Limits, Measured
from bmc.search.chain import NO_ROWS, Origin
from bmc.search.exporting import without_test
from bmc.search.full_training import FullTraining
from bmc.search.halving import efforts_of, full_epochs
from bmc.search.objective import Objective, scored_rows, validation_rows_of_trials
from bmc.search.options import SearchOptions
from bmc.search.outputs import Places
from bmc.search.pace import answer_ahead, learned_a_second, rows_a_second
from bmc.search.probe import space_of, weight_bits_for
from bmc.search.result import Found, Winner
from bmc.search.space import Space
from bmc.search.study import Study, hold_file
from bmc.search.subject import check_model, origin_of
from bmc.search.trials import Trials
from bmc.workflows.bundles import check_targets
from bmc.workflows.lineage import data_of, weights_sha256
from bmc.workflows.options import Files
from bmc.workflows.transfer import default_rows

_SHARE = 0.5  # of the time, for trials; the rest is for the finalists
_ANSWERED = 0.2  # of the trials' time, for what the model answers ahead of them
_FASTER = 4.0  # than the model, what is trained where no latency is limited; students are faster
_RUNGS = 3  # counts up where candidates are trained otherwise: their scores cannot be compared
_LEFT = 0.2  # of the time, which finalists have at least: they are exported and scored, too
_TRAINED_BY = 0.95  # of the time: measuring in alternation and exporting come after it
_BASE, _RATE, _LEARNED = "base", "rows a second", "rows of all trials"
_FINISHED = "finished search"  # its minutes and its finalists
_NOTHING = {"minutes": 0.0, "finalists": 0}
_PLAN = "plan of the finalists"  # seconds for them, as long as the same is asked for


def compress(
    reference: str | None,
    target: str,
    budgets: Budgets = Budgets(),
    options: SearchOptions = SearchOptions(),
    files: Files = Files(),
) -> Found:
    """Search for a compressed model within budgets, and write the Pareto front as bundles.

    Techniques, their order and their settings are combined by what each takes alone, and proposed
    by Optuna. Candidates are scored on validation rows and timed on the target; the test split is
    read once, when the bundles of the front are written. A search that was stopped resumes when it
    is called again with the same arguments.

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
    started = time.monotonic()
    check_targets([target], None)
    if not targets.load(target).available().devices:
        raise MissingError(
            f"{target} runs on no device here, so no latency can be measured: "
            f"{targets.load(target).available().note}"
        )
    folder = workspace.find(reference, "model")
    if not reference:
        console.note(f"compress: {folder}, the newest model")
    model = artifact.load(folder)
    check_model(folder, model)
    output = files.output or workspace.root() / f"{workspace.slug(folder.name)}-compressed"
    places = Places(output, output.with_name(f"{output.name}-search"), target)
    writing.hold(places.folder)
    if options.storage is not None:
        hold_file(options.storage)
    if files.force:
        places.take(options.finalists, True, folder)
        places.begin_anew(options.finalists)
    places.recover()
    before = result.read(places.folder)
    if before is None:
        places.take(options.finalists, files.force, folder)
    whole = data_of(folder, files.data)
    data = without_test(whole)
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
        "rungs": _RUNGS,
    }
    bits = weight_bits_for(target)
    if bits != WEIGHT_BITS[0]:
        identity["weight_bits"] = bits
    if validation_rows_of_trials(data) is not None:
        identity["validation_rows"] = validation_rows_of_trials(data)
    moved = (data.location or files.data) if files.data else None
    if data.location not in (None, model.data.get("location")):  # found below the present folder
        moved = data.location
    origin = origin_of(folder, model, moved, options.transfer)
    store = StepStore(str(places.folder / "steps"))
    if origin.transfer != default_rows(str(model.data.get("reference"))):
        identity["transfer"] = [origin.transfer, of_data(origin.transfer, store.hashes)]
    if options.transfer is not None:  # and refuse what cannot be read
        there = datasets.transfer_rows(origin.transfer, 1, data)
        available = there.found - there.duplicates - there.held_out
        origin = replace(origin, available=available)
    objectives = budgets.objectives()
    storage = options.storage or f"sqlite:///{(places.folder / 'study.db').absolute()}"
    study = Study(storage, identity, objectives, options.sampler, options.seed)
    places = replace(places, study=study.number)
    if before is not None and before.study in ("", study.number):
        is_of_this = (before.target, before.budgets) == (target, budgets)
        if is_of_this and _is_over(study, options, places):
            return _checked(before)
    places.take(options.finalists, files.force, folder)  # what another search made is not replaced
    with closing(_runner(options, store)) as runner:
        objective = Objective(
            *(folder, data, target, places.folder, options.threads, store, runner)
        )
        trials = _trials(model, objective, space, study, budgets, options, origin)
        if options.on is None:  # elsewhere, workers have caches of their own
            seconds = _ANSWERED * _SHARE * 60 * options.minutes
            rows = min(_unlabeled_rows(trials), int(seconds * study.kept(_RATE)) - len(data.train))
            study.spend(time.monotonic() - started)
            started = time.monotonic()
            answer_ahead(folder, model, whole, origin.transfer, rows)
        study.spend(time.monotonic() - started)
        return _checked(_search(model, trials, budgets, options, places, whole.test))


def _runner(options: SearchOptions, store: StepStore) -> Runner:
    """Return what trains candidates: this process, others of this machine, or a Ray cluster."""
    if options.on is None and options.workers in (None, 1):
        return InProcess(store)
    return runner_on(options.on, store, options.workers, None)


def _trials(
    model: Model,
    objective: Objective,
    space: Space,
    study: Study,
    budgets: Budgets,
    options: SearchOptions,
    origin: Origin,
) -> Trials:
    """Measure the uncompressed model, with which the trials are compared."""
    recorded = study.kept(_BASE)
    base = objective.begin(recorded["milliseconds"] if recorded else None)
    base = Measured(**recorded) if recorded else base
    budgets.refuse_met(base)  # here alone: at the end, a latency that varies would refuse it all
    limits = budgets.limits(base)
    study.keep(_BASE, {"drop": 0.0, "bytes": base.bytes, "milliseconds": base.milliseconds})
    data = objective.data
    rate = study.kept(_RATE) or rows_a_second(model, data)
    most = study.kept(_LEARNED) or (
        _SHARE * 60 * options.minutes * learned_a_second(model, data, rate, _faster(base, limits))
    )
    study.keep(_RATE, rate)
    study.keep(_LEARNED, most)  # with more minutes, trials stay comparable with earlier ones
    scored = scored_rows(model, data, False)
    return Trials(
        space,
        study,
        objective,
        origin,
        efforts_of(model, len(data.train), most, scored, limits.milliseconds is not None),
        limits,
        budgets.objectives(),
        budgets.minimize,
        base,
        options.seed,
        options.workers or objective.runner.workers,
    )


def _unlabeled_rows(trials: Trials) -> int:
    """Return how many unlabeled rows a candidate may learn from at its longest rung."""
    of_students = [rung.unlabeled for rung in trials.rungs] if trials.space.students else [0]
    return max(*of_students, *(rung.unlabeled_tuning for rung in trials.rungs))


def _search(
    model: Model,
    trials: Trials,
    budgets: Budgets,
    options: SearchOptions,
    places: Places,
    test: Examples,
) -> Found:
    """Run the trials, then the finalists, and publish the front."""
    objective, study, base = trials.objective, trials.study, trials.base
    full = _full_training(model, trials, _seconds_of_finalists(model, trials, options))
    chosen = finalists.choose(trials)
    if not chosen:
        raise UsageError(
            f"none of {len(study.trials())} trials could be measured; more --minutes or --trials "
            "try others (the notes above have the reasons)"
        )
    left = _TRAINED_BY * 60 * options.minutes - study.seconds - study.seconds_of_finalists
    end = time.monotonic() + left
    trained = finalists.train(trials, chosen, options.finalists, full, end)
    if not trained:
        raise UsageError("no finalist could be trained in full; more --trials try others")
    begun = time.monotonic()
    trained, latency = finalists.time_in_turn(trials, trained, timing.FINAL)
    base = Measured(0.0, base.bytes, latency)
    limits = budgets.limits(base)
    expectation = finalists.expectation_of(trials, trained)
    with places.publishing(options.finalists) as outputs:
        winners, remaining = list[Winner](), list(trained)
        while not winners and remaining:
            front, sentence = finalists.front_of(remaining, limits, budgets, expectation)
            if len(front) > options.finalists:
                console.note(f"{len(front)} models are within the limits; --finalists takes more")
                front = front[: options.finalists]
            winners = publishing.publish(trials, front, limits, outputs, test)
            remaining = [each for each in remaining if each not in front]
        if not winners:
            raise UsageError("no finalist could be exported; bmc compress --trials N tries others")
        study.spend_on_finalists(time.monotonic() - begun)
        shown_front = {winner.candidate for winner in winners}
        if front[0].words not in shown_front:  # it could not be exported
            kept = [finalist for finalist in front if finalist.words in shown_front]
            _, sentence = finalists.front_of(kept, limits, budgets, expectation)
        drawn = picture.write(places.folder, study.complete(), base, limits, shown_front)
        found = Found(
            model=objective.model,
            target=objective.target,
            budgets=budgets,
            base=base,
            base_score=objective.score,
            winners=tuple(winners),
            trials=len(study.trials()),
            failed=len(study.trials()) - len(study.complete()),
            seconds=round(study.seconds + study.seconds_of_finalists, 1),
            folder=places.folder,
            picture=drawn,
            sentence=sentence,
            left_out=trials.space.left_out,
            study=study.number,
        )
        trials.keep_trained([each.kept for each in trained])
        before = study.kept(_FINISHED) or _NOTHING
        minutes = options.minutes if options.trials is None else 0.0
        finished = {
            "minutes": max(minutes, before["minutes"]),
            "finalists": max(options.finalists, before["finalists"]),
        }
        study.keep(_FINISHED, finished)
        result.write(found)
    for path in (objective.baseline, *places.folder.glob("finalist-*")):
        writing.remove(path)
    return found


def _seconds_of_finalists(model: Model, trials: Trials, options: SearchOptions) -> float:
    """Run the trials; return the time of the finalists: what they do not need goes to more trials.

    A search that was stopped among its finalists runs no more trials when the same is asked for, so
    that it finds what it has trained.
    """
    study, seconds = trials.study, 60 * options.minutes
    asked = [options.minutes, options.trials, options.finalists]
    plan = study.kept(_PLAN)
    if plan is not None and plan["asked"] == asked:
        return float(plan["seconds"])
    trials.run(_SHARE * seconds, options.trials)
    of_finalists = (_TRAINED_BY - _SHARE) * seconds
    full = _full_training(model, trials, of_finalists)
    chosen = finalists.choose(trials)
    needed = 2 * finalists.training_seconds(trials, chosen[: options.finalists], full)
    spare = of_finalists - study.seconds_of_finalists - max(needed, _LEFT * seconds)
    if chosen and options.trials is None and spare > 0:
        trials.run(_SHARE * seconds + spare, None)
        of_finalists -= spare
    if trials.study.complete():
        study.keep(_PLAN, {"asked": asked, "seconds": of_finalists})
    return of_finalists


def _full_training(model: Model, trials: Trials, seconds: float) -> FullTraining:
    """Return how finalists are trained, all of them in so many seconds."""
    data, rate = trials.objective.data, trials.study.kept(_RATE)
    labeled, scored = len(data.train), scored_rows(model, data, True)
    return FullTraining(
        epochs=full_epochs(model),
        labeled=labeled,
        seconds=seconds,
        rows_a_second=rate,
        learned_a_second=learned_a_second(model, data, rate, _faster(trials.base, trials.limits)),
        scored=scored,
        unlabeled=_available(trials.origin),
    )


def _available(origin: Origin) -> int:
    """Return how many unlabeled rows there are; those of a data set are many."""
    if origin.transfer == NO_ROWS:
        return 0
    return FullTraining.unlabeled if origin.available is None else origin.available


def _faster(base: Measured, limits: Limits) -> float:
    """Return how many times faster than the model trained candidates are, at least."""
    return base.milliseconds / limits.milliseconds if limits.milliseconds else _FASTER


def _check_space(space: Space, folder: Path) -> None:
    if space.is_empty():
        reasons = "; ".join(f"{name}: {reason}" for name, reason in space.left_out.items())
        raise UsageError(f"nothing makes {folder} smaller or faster ({reasons})")


def _is_over(study: Study, options: SearchOptions, places: Places) -> bool:
    """Tell whether a finished search has used up its time or its trials, and all it made is there.

    Args:
        study: its study.
        options: what is asked for now.
        places: where its models and bundles are.
    """
    finished = study.kept(_FINISHED) or _NOTHING
    if options.finalists > finished["finalists"]:
        return False
    if any(workspace.kind_of(path) is None for path in places.earlier()):
        return False
    if options.trials is None:
        return options.minutes <= float(finished["minutes"])
    is_enough = len(study.trials()) >= options.trials
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
