"""Compress a model: apply a step, fine-tune what is left, keep the numbers before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, console, workspace
from bmc.compress.distill.logits import Logits
from bmc.compress.distill.vectors import Vectors, check_widths
from bmc.contracts.tasks import EMBEDDING
from bmc.contracts.techniques import technique
from bmc.data import Dataset, with_fewer_rows
from bmc.errors import GateError, UsageError
from bmc.inference.form import is_quantized
from bmc.inference.quantized_form import stored_bytes
from bmc.inference.scripted import refuse_scripted
from bmc.inspect.collect import TOKENS, costs_at
from bmc.inspect.zeros import share_of_zeros
from bmc.model import AppliedStep, Model, Record, Step, Work
from bmc.training import collective
from bmc.training.custom import measure_of
from bmc.training.work import joined, work_for
from bmc.workflows import calls, scoring, teachers, transfer
from bmc.workflows.baselines import code_of
from bmc.workflows.lineage import data_of, refuse_another_fold, weights_sha256
from bmc.workflows.options import Files
from bmc.workflows.outputs import forget_checkpoints, refuse_output
from bmc.workflows.results import Compressed
from bmc.workflows.settings import settings_from
from bmc.workflows.sizes import Size, shown_change
from bmc.workflows.tuning import Tuning
from bmc.writing import refuse_existing

_LOST = 0.01  # of the weights
_WAYS_OUT = {
    "prune": "take a lower --ratio, or more --epochs",
    "share": "share less (a higher energy, rank or number of values), or take more --epochs",
    "quantize": "--method mixed keeps the worst layers in float, --method qat trains on",
}


def step_class(kind: str, method: str) -> Any:
    """Find a technique's class by name, such as "structured" among "prune".

    Raises:
        UnknownError: there is no such technique.
    """
    return technique(f"{kind}/{method}").step


def settings_of(
    step: Any, method: str, options: Mapping[str, Any], typed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a technique's settings: by name, and from options of the command that were typed.

    Raises:
        UsageError: the technique has no setting of an option's name.
        SettingError: a value is of another type.
    """
    setting_names = {field.name for field in fields(step)}
    chosen = {name: value for name, value in typed.items() if value is not None}
    for name in chosen:
        if name not in setting_names:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{method} has no {option}; its settings: {', '.join(sorted(setting_names))}"
            )
    return {**settings_from(step, options, method), **chosen}


def compress(
    kind: str,
    method: str,
    reference: str | None,
    choose: Callable[[Model, Work], Step],
    tuning: Tuning,
    files: Files,
    missed: Callable[[Size, Size], str] = lambda before, after: "",
) -> Compressed:
    """Load a model, apply a step, fine-tune the model, and write it with its costs.

    Args:
        kind: "prune", "share" or "quantize".
        method: the technique.
        reference: path or name of the model; the newest model of the workspace when None.
        choose: makes the step; it may look at the model, and must not change it.
        tuning: settings of the fine-tuning.
        files: present location of the model's data, and the output; the default is MODEL-METHOD in
            the workspace.
        missed: function of the model before and after the step that returns the missed budget in
            words; "" if none is missed.

    Raises:
        GateError: more was lost than may be, or something missed; it is kept as NAME.failed.
    """
    started = time.monotonic()
    folder = workspace.find(reference, "model")
    if reference is None:
        console.note(f"{kind}: {folder}, the newest model")
    output = files.output or workspace.root() / f"{workspace.slug(folder.name)}-{method}"
    refuse_output(output, files.force, source=folder)
    refuse_existing(_failed(output), force=True)
    teacher = teachers.find_folder(tuning.teacher) if tuning.teacher else folder
    model = artifact.load(folder)
    _check_model(kind, folder, model, tuning)
    taught, chosen = _teacher_for(kind, tuning, model, teacher)
    tuning.refuse_untaught_rows(taught is not None)
    data = data_of(folder, files.data)
    if files.data:  # the next verb finds it there, too
        model.data = {**model.data, "location": data.location}
    if tuning.teacher:
        _check_teacher(teacher, folder, model, data)
    given = transfer.rows_of(tuning, tuning.transfer, data)
    edits_words = tuning.augment_texts and tuning.teacher
    taught_by = teachers.load(teacher) if edits_words else model
    learned = with_fewer_rows(data, train=tuning.train_rows)
    made = transfer.new_rows_of(tuning, learned, given.rows, taught_by)
    del taught_by
    unlabeled = joined(given.rows, made.rows)
    data = with_fewer_rows(data, validation=tuning.validation_rows)
    learned = with_fewer_rows(learned, validation=tuning.validation_rows)
    checkpoints = workspace.checkpoints_of(output)

    def work_of(run: str, data: Dataset = data) -> Work:
        weights = [weights_sha256(path) for path in (folder, teacher)]
        settled = replace(tuning, max_drop=None, checkpoint_every=None)  # change no weight
        run = f"{weights} {settled} {run}"
        settings, cache = tuning.settings(model), workspace.cache()
        return work_for(data, unlabeled, settings, checkpoints, cache, _load, run)

    started_from = weights_sha256(folder)
    torch.manual_seed(tuning.seed)
    counts_words = kind == "prune" and method == "vocabulary"  # of all texts
    seen = data if counts_words else learned
    step = choose(model, work_of("search", seen))
    work = work_of(str(asdict(step)), seen)
    before = size_of(model, work)
    zeros = share_of_zeros(model.module)
    torch.manual_seed(tuning.seed)
    record = _record_of(step, model, work, f"{method} found nothing to change in {folder}")
    model.steps.append(AppliedStep(f"{kind}/{method}", asdict(step), record, tuning.seed, 0.0))
    applied = after = size_of(model, work)
    console.note(f"{method}: {shown_change(before, applied)}")
    _note_lost_zeros(model, zeros, method)
    if tuning.epochs:
        work = work_of(str(asdict(step)), learned)
        _tune(model, work, taught, chosen)
        after = replace(applied, score=_score_of(model, work))
    if after.score is not None:
        model.scores = {**model.scores, f"validation_{measure_of(model)}": after.score}
        scoring.score_validation(model, data.validation, device=work.device)
    elif not tuning.epochs:
        model.scores = {}  # scores of a generator are not recomputed after a step
    seconds = round(time.monotonic() - started, 1)
    _record_lineage(model, kind, folder.name, started_from, seconds)
    other = teacher if tuning.teacher else None
    called = calls.step_call(kind, output.name, method, asdict(step), asdict(tuning), other)
    model.origin[calls.KEY] = [*_listed(model.origin.get(calls.KEY)), called]
    if len(unlabeled):
        used = {"step": f"{kind}/{method}", **transfer.record(tuning.transfer, given, tuning, made)}
        model.origin["step_transfer"] = [*_listed(model.origin.get("step_transfer")), used]
    result = Compressed(
        path=output,
        scores=model.scores,
        labels=model.labels,
        seconds=seconds,
        code=code_of(model),
        before=before,
        applied=applied,
        after=after,
    )
    _refuse("accuracy", _lost(kind, before, after, tuning), model, result)
    _refuse("budget", missed(before, after), model, result)
    artifact.save(model, output, files.force)
    collective.wait()
    forget_checkpoints(checkpoints)
    return result


def _check_model(kind: str, folder: Path, model: Model, tuning: Tuning) -> None:
    """Refuse a model that a step cannot change, or that has no teacher of the kind in `tuning`.

    Raises:
        UsageError: it is quantized, a TorchScript network, or a generator with a teacher or a limit
            of the score that it lacks.
    """
    refuse_scripted(folder, model.module)
    if is_quantized(model.module):
        raise UsageError(
            f"{folder} is quantized, which comes last: {kind} the model that it was made from "
            f"({_origin(model)})"
        )
    if not model.has_labels and tuning.max_drop is not None:
        raise UsageError(f"{folder} is a generator, which has no score: leave --max-drop out")
    if not model.has_labels and tuning.teacher:
        raise UsageError(f"{folder} is a generator, which has no teacher: leave --teacher out")
    if not model.has_labels and tuning.distill and kind != "quantize":
        raise UsageError(f"{folder} is a generator, which has no teacher: leave --distill out")


def _check_teacher(teacher: Path, folder: Path, model: Model, data: Dataset) -> None:
    """Refuse a teacher that does not fit the model's data, and note the name of the teacher."""
    refuse_another_fold(teacher, artifact.describe(folder)["data"])
    teachers.check(teacher, data, model.labels)
    if model.task == EMBEDDING:
        widths = [int(each.outputs()[0].shape[1]) for each in (teachers.load(teacher), model)]
        check_widths(str(teacher), widths[0], widths[1], may_project=False)
    teachers.note_failure(teacher)
    console.note(f"teacher: {teacher}, as named (weights {weights_sha256(teacher)[:12]})")


def _record_of(step: Step, model: Model, work: Work, nothing: str) -> Record:
    """Apply a step and return its record.

    Raises:
        UsageError: the step changed nothing; the message is `nothing` with the step's settings.
    """
    record = step.apply(model, work)
    if not record:
        settings = ", ".join(f"{name}={value}" for name, value in asdict(step).items())
        raise UsageError(f"{nothing} with {settings}")
    return record


def _teacher_for(kind: str, tuning: Tuning, model: Model, teacher: Path) -> tuple[Path | None, str]:
    """Return the teacher of the fine-tuning, None for no teacher, and how it was chosen."""
    itself = tuning.distill and not tuning.teacher
    needs_teacher = model.task == EMBEDDING  # its rows have no labels
    is_numeric = not model.labels and not needs_teacher
    untaught = kind == "quantize" and itself and is_numeric  # numbers have no soft targets
    chosen = "named" if tuning.teacher else "itself"
    has_teacher = (tuning.has_teacher or needs_teacher) and not untaught
    return (teacher if has_teacher else None), chosen


def _record_lineage(model: Model, kind: str, name: str, sha256: str, seconds: float) -> None:
    """Record the model that the step started from, by name and hash of its weights."""
    model.steps[-1] = replace(model.steps[-1], seconds=seconds)
    lineage = {"from": name, "from_sha256": sha256}
    model.origin = {**model.origin, "command": kind, **lineage, "seconds": seconds}


def _listed(recorded: object) -> list[Any]:
    return recorded if isinstance(recorded, list) else []


def size_of(model: Model, work: Work) -> Size:
    """Measure a model's size and score; the model is moved to the CPU."""
    model.module.cpu().eval()
    costs = costs_at(model, TOKENS, runs=1)
    score = _score_of(model, work)
    model.module.cpu()
    held = stored_bytes(model.module) if is_quantized(model.module) else costs.bytes
    return Size(costs.parameters, held, costs.macs, score)


def _score_of(model: Model, work: Work) -> float | None:
    """Score a model on the validation rows; None for a generator, which has no labels."""
    return work.score(model) if model.has_labels else None


def _origin(model: Model) -> str:
    """Return the name of the model that another was made from, and say if its weights changed."""
    name = str(model.origin.get("from"))
    folder, weights = workspace.root() / workspace.slug(name), model.origin.get("from_sha256")
    if weights and artifact.is_model_directory(folder) and weights != weights_sha256(folder):
        return f"{name}, which was made anew since: the one of weights {str(weights)[:12]}"
    return name


def _failed(output: Path) -> Path:
    """Return the path of a model that missed a check."""
    return output.with_name(f"{output.name}.failed")


def _tune(model: Model, work: Work, teacher: Path | None, chosen: str) -> None:
    """Fine-tune on the labels, with a teacher also on the teacher's logits."""
    if teacher is None:
        model.scores = work.fit(model, name="tuning")
        return
    taught_by = teachers.teacher_of(teacher, chosen)
    if model.task == EMBEDDING:
        Vectors(str(teacher), taught_by.sha256, may_project=False).apply(model, work)
    else:
        Logits(str(teacher), taught_by.sha256).apply(model, work)
    model.origin = {**model.origin, "teacher": taught_by.to_json(model.origin.get("teacher"))}


def _lost(kind: str, before: Size, after: Size, tuning: Tuning) -> str:
    """Say that a model lost more than it may; nothing where it did not."""
    if tuning.max_drop is None or before.score is None or after.score is None:
        return ""
    lost = 100 * (before.score - after.score)
    if lost <= tuning.max_drop:
        return ""
    return (
        f"{lost:.2f} points of the validation score were lost; --max-drop allows "
        f"{tuning.max_drop}: {_WAYS_OUT[kind]}"
    )


def _refuse(check: str, reason: str, model: Model, result: Compressed) -> None:
    """Keep a model that failed a check as NAME.failed, and raise the reason.

    Raises:
        GateError: there is a reason; the error has the result, with the path of the kept model.
    """
    if reason:
        kept = artifact.save(model, _failed(result.path), force=True)
        raise GateError(f"{reason}. Kept as {kept}", check, replace(result, path=kept))


def _note_lost_zeros(model: Model, before: float, method: str) -> None:
    """Note where a step changed zeros that an earlier step had set."""
    earlier = [step.method for step in model.steps[:-1] if "parameters" in step.record]
    after = share_of_zeros(model.module)
    if earlier and before - after > _LOST:
        console.note(
            f"{method} undid zeros of {', '.join(earlier)}: {before:.0%} of the weights were zero, "
            f"{after:.0%} are; {method} first, then zeros, keeps them"
        )


def _load(reference: str) -> Model:
    return teachers.load(Path(reference))
