"""bmc distill"""

from __future__ import annotations

from bmc.cli import _shown
from bmc.cli._common import Answer, DataOptions, Writing
from bmc.workflows import distill as workflow
from bmc.workflows.results import Distilled
from bmc.workflows.tuning import Distillation


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
    settings = Distillation(
        student=student,
        layers=layers,
        hidden=hidden,
        heads=heads,
        transfer=transfer,
        transfer_size=transfer_size,
        temperature=temperature,
        hard_label_weight=hard,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        precision=precision,
        checkpoint_every=checkpoint_every,
        seed=seed,
        device=device,
    )
    return _distilled(workflow.distill(teacher, source, settings, common.output, common.force))


def _distilled(made: Distilled) -> Answer:
    beside = f"; teacher {made.teacher_score:.3f}" if made.teacher_score else ""
    return Answer(
        {
            "output": str(made.path),
            "teacher": str(made.teacher),
            "scores": made.scores,
            "seconds": made.seconds,
        },
        (
            f"wrote {made.path}: {_shown.chosen_by(made.scores, made.validation_rows)}{beside}",
            *_shown.validation(made.scores, made.labels),
            _shown.next_export(made.path, made.code),
        ),
    )
