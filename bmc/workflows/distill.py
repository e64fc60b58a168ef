"""Distil a trained teacher into a small student."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, console, workspace
from bmc.compress.distill.logits import Logits
from bmc.data import Dataset
from bmc.errors import DataError, unknown
from bmc.model import AppliedStep, Model
from bmc.models import bert
from bmc.training.work import start_in_units_of, work_for
from bmc.workflows import baselines, scoring, teachers
from bmc.workflows.data import DataSource, data_record
from bmc.workflows.lineage import refuse_another_fold
from bmc.workflows.outputs import forget_checkpoints, refuse_output
from bmc.workflows.results import Distilled
from bmc.workflows.teachers import Teacher
from bmc.workflows.tuning import Distillation

_FEW_STEPS = 200
_TRANSFER_OF = {"movie-reviews": "imdb", "imdb": "imdb"}


def distill(
    teacher: str,
    source: DataSource,
    settings: Distillation,
    output: Path | None = None,
    force: bool = False,
) -> Distilled:
    """Train a small student on what a teacher answers, and write its model directory.

    A baseline that was not trained on this data yet is trained first. The teacher's answers are
    kept in the workspace's cache. A run that was stopped resumes when it is called again.

    Args:
        teacher: a baseline's name, a model directory, or a model's name in the workspace.
        source: the data that the student learns from.
        settings: the student, and how it is taught.
        output: the model directory; STUDENT-DATA in the workspace when None.
        force: replace the output if it exists.

    Raises:
        UnknownError: there is no such teacher, student or data set.
        UsageError: the teacher does not fit the data, or has learned rows that are held out here.
        DataError: the data's rows are no texts.
    """
    started = time.monotonic()
    size = _size(settings)
    # A senseless setting is said before a teacher is trained.
    Logits("", "", settings.temperature, settings.hard_label_weight)
    folder = teachers.find(teacher)
    data = _texts(source)
    output = output or workspace.root() / f"{workspace.slug(settings.student)}-{data.name}"
    refuse_output(output, force, data=data)
    transfer = settings.transfer
    if transfer is None:
        transfer = _TRANSFER_OF.get(source.data, "none")
    texts = teachers.transfer_texts(transfer, settings.transfer_size, data)
    learned_from = data_record(data, source)
    taught_by = _teacher(teacher, folder, data, source, settings, size, learned_from)
    step = Logits(
        str(taught_by.folder), taught_by.sha256, settings.temperature, settings.hard_label_weight
    )
    model, teacher_score = untrained_student(taught_by.folder, size, data, settings.seed)
    checkpoints = workspace.checkpoints_of(output)
    texts_sha256 = hashlib.sha256("\x1e".join(texts).encode()).hexdigest()
    work = work_for(
        data,
        texts,
        settings.training(),
        checkpoints,
        workspace.cache(),
        load=lambda reference: artifact.load(Path(reference)),
        run=f"{asdict(step)} {texts_sha256}",
    )
    _say_plan(settings, size, data, texts)
    record = step.apply(model, work)
    scoring.score_validation(model, data.validation, settings.precision, settings.device)
    seconds = round(time.monotonic() - started, 1)
    model.data = learned_from
    model.steps = [AppliedStep("distill/logits", asdict(step), record, settings.seed, seconds)]
    model.origin = {
        "command": "distill",
        "student": settings.student,
        "teacher": taught_by.to_json(),
        "transfer": {"reference": transfer, "texts": len(texts), "sha256": texts_sha256},
        "settings": asdict(settings.training()),
        "seconds": seconds,
        "history": model.origin.get("history", []),
    }
    artifact.save(model, output, force)
    forget_checkpoints(checkpoints)
    return Distilled(
        path=output,
        scores=model.scores,
        labels=model.labels,
        seconds=seconds,
        code=baselines.code_of(model),
        validation_rows=len(data.validation),
        teacher=taught_by.folder,
        teacher_score=teacher_score,
    )


def _texts(source: DataSource) -> Dataset:
    """Load the student's data.

    Raises:
        DataError: it holds no texts.
    """
    data = source.load()
    if data.kind != "text":
        raise DataError(
            f"{data.name!r} holds {data.kind}, and students read text: bmc prune --distill and "
            "--teacher let a pruned model learn from any"
        )
    return data


def _teacher(
    reference: str,
    folder: Path | None,
    data: Dataset,
    source: DataSource,
    settings: Distillation,
    size: bert.Size,
    learned_from: Mapping[str, Any],
) -> Teacher:
    """Return a teacher that may teach on this data; a baseline is trained where it was not yet.

    Args:
        reference: as it was named.
        folder: its model directory; None for a baseline's name.
        data: what the student learns from.
        source: where that comes from.
        settings: of the student.
        size: of the student.
        learned_from: record of the data.

    Raises:
        UsageError: the teacher does not fit the data, or has learned rows that are held out here.
    """
    chosen = "named"
    if folder is None:
        folder, is_there = teachers.find_baseline(reference, data, source.fold)
        chosen = "found" if is_there else "trained"
        if not is_there:
            _check_size(reference, data, size)
            teachers.train(reference, data, source, settings.seed, settings.device, folder)
    refuse_another_fold(folder, learned_from)
    teachers.check(folder, data, data.labels)
    teacher = teachers.teacher_of(folder, chosen)
    if chosen == "named":
        console.note(f"teacher: {folder}, as named (weights {teacher.sha256[:12]})")
    return teacher


def _size(settings: Distillation) -> bert.Size:
    """Return the student's size.

    Raises:
        UnknownError: there is no student of that name.
    """
    if settings.student not in bert.STUDENTS:
        hint = "or --layers, --hidden and --heads"
        raise unknown("student", settings.student, bert.STUDENTS, hint)
    base = bert.STUDENTS[settings.student]
    return bert.Size(
        base.layers if settings.layers is None else settings.layers,
        base.hidden if settings.hidden is None else settings.hidden,
        base.heads if settings.heads is None else settings.heads,
    )


def untrained_student(
    teacher: Path, size: bert.Size, data: Dataset, seed: int
) -> tuple[Model, float | None]:
    """Build an untrained student; its classes are the data's, in the data's order.

    Args:
        teacher: its model directory, whose embeddings the student starts from.
        size: layers, width and heads.
        data: what the student learns from.
        seed: of its fresh weights, whatever was drawn before.

    Returns:
        the student, and its teacher's validation score.
    """
    taught = artifact.load(teacher)  # the step loads it again, and frees it before training
    score = next((value for name, value in taught.scores.items() if name != "best_epoch"), None)
    torch.manual_seed(seed)  # after the load, which may draw weights of its own
    model = bert.student(taught, size)
    names = dict(enumerate(data.labels or ("value",)))
    model.spec["id2label"] = {str(number): label for number, label in names.items()}
    model.spec["label2id"] = {label: number for number, label in names.items()}
    model.labels = data.labels
    if model.task == "regression":
        start_in_units_of(model, data.train.labels)
    return model, score


def _check_size(teacher: str, data: Dataset, size: bert.Size) -> None:
    """Build the student of an untrained teacher: what does not fit is said before hours of work."""
    chosen = baselines.choose(teacher, {})
    bert.student(chosen.network.baseline(teacher, data, chosen.options), size)


def _say_plan(settings: Distillation, size: bert.Size, data: Dataset, texts: Sequence[str]) -> None:
    """Say what is taught on how many texts, and whether these are few."""
    console.note(
        f"teaching {settings.student} ({size.layers} layers x {size.hidden}) on "
        f"{len(data.train)} labelled and {len(texts)} unlabelled texts"
    )
    steps = settings.epochs * -(-(len(data.train) + len(texts)) // settings.batch_size)
    if steps < _FEW_STEPS:
        console.note(
            f"only {steps} steps; with few texts, more --epochs and a smaller --batch-size help"
        )
