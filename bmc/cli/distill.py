"""bmc distill"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from bmc.cli import _complete
from bmc.cli.choices import Choice
from bmc.cli.options import DATA, MODEL, TRAINING, Answer, DataOptions, Writing, pairs_of
from bmc.contracts import families
from bmc.training.settings import DEVICES, PRECISIONS
from bmc.workflows.tuning import Distillation

_STUDENT = Choice(
    "student", families.students, "bmc models lists all", others=families.is_reference
)


@dataclass(frozen=True)
class Teaching(Distillation):
    """What a student is and how it is taught.

    Args:
        student: tiny (2 layers x 128), mini (4 x 256), small (4 x 384), or any model that bmc
            train takes: a baseline's name, a local Hugging Face folder, or hf:org/name@revision.
        layers: number of layers, instead of the student's default.
        hidden: hidden size, instead of the student's default.
        heads: attention heads, instead of the student's default.
        transfer: unlabelled texts for the teacher: imdb, a .txt file with a text per line, or none.
            The default is imdb for movie reviews, and none for other data.
        transfer_size: number of unlabelled texts, at most.
        temperature: temperature of the softmax: the logits of teacher and student are divided by
            it.
        hard_label_weight: weight of the cross-entropy with the true labels, beside the soft
            targets.
        epochs: passes over all rows. The default is the student's own, 3 for tiny.
        learning_rate: peak learning rate; it rises over the first tenth of the steps, then decays
            to zero. The default is the student's own, 2e-3 for tiny.
        batch_size: rows per step. The default is the student's own, 128 for tiny.
        precision: auto is bf16 where the processor supports it.
        seed: random seed of new weights, batches and dropout.
        device: auto is cuda where there is a GPU.
    """

    PANEL: ClassVar[str] = TRAINING

    student: Annotated[str, _STUDENT, typer.Option("--student", rich_help_panel=MODEL)] = "tiny"
    layers: Annotated[int | None, typer.Option("--layers", rich_help_panel=MODEL)] = None
    hidden: Annotated[int | None, typer.Option("--hidden", rich_help_panel=MODEL)] = None
    heads: Annotated[int | None, typer.Option("--heads", rich_help_panel=MODEL)] = None
    transfer: Annotated[
        str | None,
        typer.Option("--transfer", rich_help_panel=DATA, autocompletion=_complete.transfers),
    ] = None
    transfer_size: Annotated[int, typer.Option("--transfer-size", rich_help_panel=DATA)] = 150_000
    precision: Annotated[str, Choice("precision", PRECISIONS)] = "auto"
    device: Annotated[str, Choice("device", DEVICES)] = "auto"


def distill(
    *,
    teacher: Annotated[
        str,
        typer.Option("--teacher", rich_help_panel=MODEL, autocompletion=_complete.baselines),
    ] = "bert",
    set_: Annotated[
        tuple[str, ...],
        typer.Option(*("--set", "-s"), metavar="NAME=VALUE", rich_help_panel=MODEL),
    ] = (),
    settings: Teaching = Teaching(),
    source: DataOptions = DataOptions(),
    common: Writing = Writing(),
) -> Answer:
    """Distil a trained teacher into a small student.

    The student learns the teacher's logits, divided by the temperature, on the training texts and
    on unlabelled texts, and the true labels beside them. If the teacher is a baseline's name and
    the workspace has none trained on this data, it is trained first. The teacher's logits are
    cached on disk; a run that was stopped resumes when the same command is typed again.

    Args:
        teacher: a BERT or MPNet: a baseline's name (bert, mpnet), a model directory, or a model's
            name in the workspace.
        set_: a setting of the student, such as layers=3; several are possible.

    Example:
        bmc distill --teacher bert --student tiny
        bmc distill --teacher bert --data reviews.csv --transfer more.txt
    """
    from bmc.cli.shown import models as shown
    from bmc.workflows import distill as workflow

    common.begin()
    return shown.distilled(
        workflow.distill(
            teacher, source.source(), settings, common.output, common.force, pairs_of(set_)
        )
    )
