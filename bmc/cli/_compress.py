"""What prune, share and quantize have in common: apply a step, fine-tune, keep both numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter

from bmc import artifact, console, plugins, workspace
from bmc.cli import _models, _scoring, _teachers
from bmc.cli._common import Answer, Writing
from bmc.cli._lineage import refuse_output, weights_sha256
from bmc.cli._tuning import Tuning
from bmc.compress.distill.logits import Logits
from bmc.compress.quantize._form import held_bytes, is_quantized
from bmc.errors import GateError, UsageError, unknown
from bmc.inspect.collect import TOKENS, costs_at
from bmc.inspect.zeros import share_of_zeros
from bmc.measure.shown import megabytes
from bmc.model import AppliedStep, Model, Step, Work
from bmc.training.work import work_for
from bmc.writing import refuse_existing

_LOST = 0.01  # of the weights
_WAYS_OUT = {
    "prune": "take a lower --ratio, or more --epochs",
    "share": "share less (a higher energy, rank or number of values), or take more --epochs",
    "quantize": "--method mixed keeps the worst layers in float, --method qat trains on",
}

Set = Annotated[tuple[str, ...], Parameter(name=["--set", "-s"])]


@dataclass(frozen=True)
class Size:
    """What a model takes and answers, before or after a step.

    Args:
        parameters: each shared one once.
        bytes: of parameters and buffers, likewise.
        macs: multiply-accumulates of one row; a text or series of 32 steps.
        score: on the validation rows; None for a generator.
    """

    parameters: int
    bytes: int
    macs: int
    score: float | None


def step_class(kind: str, method: str) -> Any:
    """Find a technique's class by name, such as "structured" among "prune".

    Raises:
        UnknownError: there is no such technique.
    """
    choices = plugins.names(f"bmc.compress.{kind}")
    if method not in choices:
        raise unknown(f"{kind} method", method, choices, f"bmc {kind} --help says what each does")
    return artifact.method(f"{kind}/{method}")


def settings_of(
    technique: Any, method: str, pairs: tuple[str, ...], typed: dict[str, Any]
) -> dict[str, Any]:
    """Return a technique's settings: NAME=VALUE pairs, and options of the command that were typed.

    Raises:
        UsageError: the technique has no setting of an option's name.
        SettingError: a pair is malformed.
    """
    own = {field.name for field in fields(technique)}
    given = {name: value for name, value in typed.items() if value is not None}
    for name in given:
        if name not in own:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{method} has no {option}; its settings: {', '.join(sorted(own))}")
    return {**_models.typed_settings(technique, _models.pairs_of(pairs), method), **given}


def compress(
    kind: str,
    method: str,
    reference: str | None,
    choose: Callable[[Model, Work], Step],
    tuning: Tuning,
    data: str | None,
    common: Writing,
    missed: Callable[[Size, Size], str] = lambda before, after: "",
) -> Answer:
    """Load a model, apply a step, fine-tune what is left, and write it beside what it cost.

    Args:
        kind: "prune", "share" or "quantize".
        method: the technique.
        reference: of the model; the workspace's newest when None.
        choose: makes the step; it may look at the model, and must not change it.
        tuning: how to fine-tune.
        data: where the model's data is now, if it is not where it was.
        common: output and terminal.
        missed: says what the model, before and after, should have reached and did not; "" if all.

    Raises:
        GateError: more was lost than may be, or something missed; it is kept as NAME.failed.
    """
    started = time.monotonic()
    folder = workspace.find(reference, "model") if reference else workspace.newest("model")
    if not reference:
        console.note(f"{kind}: {folder}, the newest model")
    output = common.output or workspace.root() / f"{workspace.slug(folder.name)}-{method}"
    refuse_output(output, common.force, source=folder)
    refuse_existing(_failed(output), force=True)
    teacher = workspace.find(tuning.teacher, "model") if tuning.teacher else folder
    model = artifact.load(folder)
    if is_quantized(model.module):
        raise UsageError(
            f"{folder} is quantized, which comes last: {kind} the model that it was made from "
            f"({_origin(model)})"
        )
    if model.task == "generation" and tuning.teacher:
        raise UsageError(f"{folder} is a generator, which has no teacher: leave --teacher out")
    if model.task == "generation" and tuning.distill and kind != "quantize":
        raise UsageError(f"{folder} is a generator, which has no teacher: leave --distill out")
    known = _models.data_of(folder, data)
    if data:  # the next verb finds it there, too
        model.data = {**model.data, "location": known.location}
    if tuning.teacher:
        _models.refuse_another_fold(teacher, artifact.describe(folder)["data"])
        _teachers.check(teacher, known, model.labels)
        console.note(f"teacher: {teacher}, as named (weights {weights_sha256(teacher)[:12]})")
    texts = _teachers.transfer_texts(tuning.transfer, tuning.transfer_size, known)
    checkpoints = workspace.checkpoints_of(output)

    def work_of(run: str) -> Work:
        weights = [weights_sha256(one) for one in (folder, teacher)]
        run = f"{weights} {tuning} {run}"
        settings, cache = tuning.settings(model), workspace.cache()
        return work_for(known, texts, settings, checkpoints, cache, _load, run)

    started_from = weights_sha256(folder)
    torch.manual_seed(tuning.seed)
    step = choose(model, work_of("search"))
    work = work_of(str(asdict(step)))
    before = size_of(model, work)
    zeros = share_of_zeros(model.module)
    torch.manual_seed(tuning.seed)
    record = step.apply(model, work)
    if not record:
        settings = ", ".join(f"{name}={value}" for name, value in asdict(step).items())
        raise UsageError(f"{method} found nothing to change in {folder} with {settings}")
    model.steps.append(AppliedStep(f"{kind}/{method}", asdict(step), record, tuning.seed, 0.0))
    applied = after = size_of(model, work)
    console.note(f"{method}: {_shown(before, applied)}")
    _say_lost_zeros(model, zeros, method)
    if tuning.epochs:
        itself = tuning.distill and not tuning.teacher
        untaught = kind == "quantize" and itself and not model.labels  # it has no soft answers
        chosen = "named" if tuning.teacher else "itself"
        _tune(model, work, teacher if tuning.has_teacher and not untaught else None, chosen)
        after = replace(applied, score=_score_of(model, work))
    if after.score is not None:
        model.scores = {**model.scores, _measure(model): after.score}
        _scoring.score_validation(model, known.validation, device=work.device)
    elif not tuning.epochs:
        model.scores = {}  # a generator's would have to be measured anew
    seconds = round(time.monotonic() - started, 1)
    model.steps[-1] = replace(model.steps[-1], seconds=seconds)
    lineage = {"from": folder.name, "from_sha256": started_from}
    model.origin = {**model.origin, "command": kind, **lineage, "seconds": seconds}
    _refuse(_lost(kind, before, after, tuning) or missed(before, after), model, output)
    artifact.save(model, output, common.force)
    _models.forget(checkpoints)
    return Answer(
        {
            "output": str(output),
            "before": asdict(before),
            "applied": asdict(applied),
            "after": asdict(after),
            "scores": model.scores,
            "seconds": seconds,
        },
        (
            f"wrote {output}: {_shown(before, after)}",
            *_scoring.shown(model),
            _models.next_export(model, output),
        ),
    )


def size_of(model: Model, work: Work) -> Size:
    """Measure a model as it stands; it is on the CPU afterwards."""
    model.module.cpu().eval()
    costs = costs_at(model, TOKENS, runs=1)
    score = _score_of(model, work)
    model.module.cpu()
    held = held_bytes(model.module) if is_quantized(model.module) else costs.bytes
    return Size(costs.parameters, held, costs.macs, score)


def _score_of(model: Model, work: Work) -> float | None:
    """Score a model on the validation rows; a generator has no labels to be scored by."""
    return None if model.task == "generation" else work.score(model)


def _origin(model: Model) -> str:
    """Name the model that another was made from, unless it was made anew since."""
    name = str(model.origin.get("from"))
    folder, weights = workspace.root() / workspace.slug(name), model.origin.get("from_sha256")
    if weights and artifact.is_model_directory(folder) and weights != weights_sha256(folder):
        return f"{name}, which was made anew since: the one of weights {str(weights)[:12]}"
    return name


def _failed(output: Path) -> Path:
    """Return where a model that missed a gate is kept."""
    return output.with_name(f"{output.name}.failed")


def _tune(model: Model, work: Work, teacher: Path | None, chosen: str) -> None:
    """Fine-tune: on the labels, or with a teacher's answers beside them."""
    if teacher is None:
        model.scores = work.fit(model, name="tuning")
        return
    taught_by = _teachers.teacher_of(teacher, chosen)
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


def _refuse(reason: str, model: Model, output: Path) -> None:
    """Keep a model that failed, for whatever reason, as NAME.failed, and say so."""
    if reason:
        kept = artifact.save(model, _failed(output), force=True)
        raise GateError(f"{reason}. Kept as {kept}")


def _say_lost_zeros(model: Model, before: float, method: str) -> None:
    """Say where a step undid the zeros that an earlier one is recorded to have set."""
    earlier = [step.method for step in model.steps[:-1] if "parameters" in step.record]
    after = share_of_zeros(model.module)
    if earlier and before - after > _LOST:
        console.note(
            f"{method} undid zeros of {', '.join(earlier)}: {before:.0%} of the weights were zero, "
            f"{after:.0%} are; {method} first, then zeros, keeps them"
        )


def _shown(before: Size, after: Size) -> str:
    """Say for people what changed."""
    sizes = (
        f"{before.parameters:,} -> {after.parameters:,} parameters, "
        f"{before.macs:,} -> {after.macs:,} MACs, "
        f"{megabytes(before.bytes)} -> {megabytes(after.bytes)}"
    )
    if before.score is None or after.score is None:
        return sizes
    return f"{sizes}, validation score {before.score:.4f} -> {after.score:.4f}"


def _measure(model: Model) -> str:
    return "validation_r2" if model.task == "regression" else "validation_accuracy"


def _load(reference: str) -> Model:
    return artifact.load(Path(reference))
