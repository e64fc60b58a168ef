"""Distill a trained teacher into a small student."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bmc import artifact, console, workspace
from bmc.contracts.tasks import EMBEDDING
from bmc.data import Dataset, with_fewer_rows, with_reference
from bmc.inference.dropout import dropout_of
from bmc.model import AppliedStep, Model, Step, Work
from bmc.training import collective
from bmc.training.augment import check_kind
from bmc.training.ensemble import Ensemble
from bmc.training.mixkd import check_models
from bmc.training.settings import MIXKD, TrainingSettings
from bmc.training.work import joined, work_for
from bmc.workflows import (
    baselines,
    calls,
    named_teachers,
    scoring,
    student_folders,
    students,
    teachers,
    transfer,
    vectors,
)
from bmc.workflows.against_teacher import against_teacher
from bmc.workflows.baselines import Chosen
from bmc.workflows.data import DataSource, data_record
from bmc.workflows.lessons import refuse_mixing, steps_of
from bmc.workflows.options import Output
from bmc.workflows.outputs import forget_checkpoints, refuse_output
from bmc.workflows.preparation import VOCABULARY, with_preparation
from bmc.workflows.results import Distilled
from bmc.workflows.teachers import Teacher
from bmc.workflows.tuning import Distillation

_FEW_STEPS = 200


def distill(
    teacher: str | Sequence[str],
    source: DataSource,
    settings: Distillation = Distillation(),
    files: Output = Output(),
) -> Distilled:
    """Train a small student on a teacher's outputs, and write the student's model directory.

    A baseline named as teacher is trained first if the workspace has none that was trained on this
    data. The teacher's outputs are cached in the workspace. A run that was stopped resumes when
    this function is called again with the same arguments.

    Args:
        teacher: the name of a built-in model, a model directory, a bundle, or the name of either
            in the workspace; a sequence, or one string with commas, names several teachers.
        source: the data that the student learns from.
        settings: settings of the student and of its training.
        files: output folder; the default is STUDENT-DATA in the workspace.

    Raises:
        UnknownError: there is no such teacher, student or data set, or no such setting of one.
        UsageError: the teacher does not fit the data, or has learned rows that are held out here.
        DataError: the student takes another kind of data.
    """
    started = time.monotonic()
    # The steps are built with a placeholder teacher, which refuses wrong settings before a teacher
    # is trained.
    chosen = students.choose(settings.student, settings.of_student())
    training = settings.training(chosen.recipe)
    is_generator = students.is_generator(chosen)
    placeholder = Teacher(Path(), "", "named", ())
    untaught_steps = steps_of(settings, [placeholder], is_generator, source.task)
    with_preparation(untaught_steps, settings, training)
    refuse_mixing(settings, training, source.task)
    references = named_teachers.find_all(teacher, source.task)
    data = source.load()
    training = settings.training(chosen.recipe_for(data))
    if not is_generator:  # the teacher's probabilities smooth the labels
        training = replace(training, label_smoothing=0.0)
    output = files.output or workspace.root() / f"{workspace.slug(settings.student)}-{data.name}"
    refuse_output(output, files.force, data=data)
    check_kind(settings.augment or (), data.kind)
    transfer.check_new_texts(settings, data)
    reference = transfer.reference_of(settings, source)
    unlabeled = transfer.rows_of(settings, reference, data)
    learned_from = data_record(data, source)
    first_teacher, *further_teachers = named_teachers.choose_all(
        references, data, source, settings, chosen, learned_from
    )
    steps = steps_of(settings, [first_teacher, *further_teachers], is_generator, data.task)
    teacher_model = teachers.load(first_teacher.folder)
    teacher_score = next(
        (value for name, value in teacher_model.scores.items() if name != "best_epoch"), None
    )
    learned = with_fewer_rows(data, train=settings.train_rows)
    made = transfer.new_rows_of(settings, learned, unlabeled.rows, teacher_model)
    readable = replace(data, unlabeled=joined(unlabeled.rows, made.rows))
    model = students.untrained(chosen, teacher_model, readable, settings.seed)
    if data.task == EMBEDDING:
        sha256, device = first_teacher.sha256, settings.device
        model.reference = vectors.teachers_reference(teacher_model, sha256, data, device)
        data = with_reference(data, model.reference)
    students.say_differences(model, teacher_model)
    if MIXKD in training.augment:  # refused before steps that take long
        check_models(model, str(first_teacher.folder), teacher_model)
    del teacher_model  # the step loads the teacher again, and frees it before training
    checkpoints = workspace.checkpoints_of(output)
    parts = (
        f"{students.identity(chosen, model)} {first_teacher.sha256} {data.fingerprint} "
        f"{settings.train_rows} {settings.validation_rows} {settings.dropout}"
    )
    start = hashlib.sha256(parts.encode()).hexdigest()
    steps = with_preparation(steps, settings, training, start)
    unlabeled_record = transfer.record(reference, unlabeled, settings, made)
    data = with_fewer_rows(data, validation=settings.validation_rows)
    learned = with_fewer_rows(data, train=settings.train_rows)
    work = work_for(
        learned,
        readable.unlabeled,
        training,
        checkpoints,
        workspace.cache(),
        load=lambda reference: teachers.load(Path(reference)),
        run=f"{start} {[asdict(step) for _, step in steps]} {unlabeled_record['sha256']}",
    )
    counted = replace(work, data=replace(work.data, train=data.train))  # words of all texts
    _note_plan(chosen, training, learned, len(work.unlabeled))
    chance = settings.dropout
    with nullcontext(1) if chance is None else dropout_of([model.module], chance) as places:
        if not places:
            console.note(f"--dropout {chance}: the student has no dropout layers")
        applied = [
            _apply(method, step, model, counted if method == VOCABULARY else work, settings.seed)
            for method, step in steps
        ]
    scoring.score_validation(model, data.validation, training.precision, settings.device)
    ensemble = Ensemble(
        [(str(entry.folder), entry.sha256) for entry in (first_teacher, *further_teachers)],
        settings.teacher_average,
        settings.teacher_weights,
    )
    comparison = against_teacher(model, ensemble, work, training.precision)
    seconds = round(time.monotonic() - started, 1)
    model.data = learned_from
    model.steps = [*model.steps, *applied]
    model.origin = {
        "command": "distill",
        "student": settings.student,
        "student_settings": asdict(chosen.options),
        **student_folders.start_of(chosen),
        "teacher": {
            **first_teacher.to_json(student_folders.learned_from(chosen), further_teachers),
            "validation": comparison,
        },
        "transfer": unlabeled_record,
        "settings": asdict(training),
        calls.KEY: [
            calls.distill_call(
                output.name,
                asdict(chosen.options),
                asdict(settings),
                source,
                [first_teacher.folder, *(each.folder for each in further_teachers)],
                student_folders.folder_of(chosen),
            )
        ],
        "seconds": seconds,
        "history": model.origin.get("history", []),
    }
    artifact.save(model, output, files.force)
    collective.wait()
    forget_checkpoints(checkpoints)
    return Distilled(
        path=output,
        scores=model.scores,
        labels=model.labels,
        seconds=seconds,
        code=baselines.code_of(model),
        validation_rows=len(data.validation),
        teacher=first_teacher.folder,
        teacher_score=teacher_score,
        against_teacher=comparison,
    )


def _apply(method: str, step: Step, model: Model, work: Work, seed: int) -> AppliedStep:
    """Apply a step to a model; return the step with its record and duration."""
    started = time.monotonic()
    record = step.apply(model, work)
    settings: Any = step
    seconds = round(time.monotonic() - started, 1)
    return AppliedStep(method, asdict(settings), record, seed, seconds)


def _note_plan(student: Chosen, training: TrainingSettings, data: Dataset, unlabeled: int) -> None:
    """Report the student and the number of rows; warn of a small number of training steps."""
    nonzero = {name: value for name, value in asdict(student.options).items() if value}
    options = ", ".join(f"{name} {value}" for name, value in nonzero.items())
    reference = f"{student.reference} ({options})" if options else student.reference
    rows = f"{len(data.train)} labeled and {unlabeled} unlabeled"
    if data.task == EMBEDDING:
        rows = f"{len(data.train) + unlabeled}"  # labels say nothing about vectors
    console.note(f"teaching {reference} on {rows} rows")
    steps = training.epochs * -(-(len(data.train) + unlabeled) // training.batch_size)
    if steps < _FEW_STEPS:
        console.note(
            f"only {steps} steps; with few rows, more --epochs and a smaller --batch-size help"
        )
