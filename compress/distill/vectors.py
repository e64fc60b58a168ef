"""Distillation of sentence embeddings: the student learns its teacher's vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bmc.compress.distill._parts import LossParts
from bmc.contracts.tasks import objective
from bmc.errors import SettingError, UsageError
from bmc.model import Model, Record, Work
from bmc.objectives.embedding import similarity_loss
from bmc.training.batches import Batch
from bmc.training.teacher_logits import cached_logits
from bmc.training.work import joined

_SIMILARITY_SCALE = 10.0  # brings mean squared changes of cosines to the size of those of vectors


@dataclass(frozen=True)
class Vectors:
    """Train a student on its teacher's vectors, and on the cosine similarities between them.

    The loss is the squared distance of student's and teacher's vectors, relative to the mean
    squared length of the teacher's; plus the mean squared change of the cosine similarities of all
    rows of a batch, times 10 and `similarity`. Where the student's vectors have fewer numbers, the
    teacher's are projected on their principal axes, fitted on all rows that are learned.

    Args:
        teacher: reference of a model or bundle that makes vectors.
        teacher_sha256: sha256 of the teacher's weights.
        similarity: weight of the similarities, 0 or more.
        may_project: whether the teacher's vectors may be projected on axes of their own; a student
            that was taught already has axes.

    Raises:
        SettingError: the weight is out of range.

    Source: Reimers and Gurevych 2020, "Making Monolingual Sentence Embeddings Multilingual using
    Knowledge Distillation" (squared errors of vectors); Tung and Mori 2019, "Similarity-Preserving
    Knowledge Distillation".
    """

    teacher: str
    teacher_sha256: str
    similarity: float = 1.0
    may_project: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.similarity < math.inf:
            raise SettingError(
                f"similarity weight is {self.similarity}; it must be a number, 0 or more"
            )

    def apply(self, model: Model, work: Work) -> Record:
        """Train the student; return an empty record, because its structure stays the same.

        Raises:
            UsageError: the student's vectors have more numbers than its teacher's, or other ones
                where the teacher's may not be projected.
        """
        teacher = work.load(self.teacher)
        width = int(model.outputs()[0].shape[1])
        check_widths(self.teacher, int(teacher.outputs()[0].shape[1]), width, self.may_project)
        rows = joined(work.data.train.rows, work.unlabeled)
        vectors = cached_logits(teacher, self.teacher_sha256, rows, work.cache, work.device)
        del teacher
        targets = vectors
        if width < vectors.shape[1]:
            targets = vectors @ principal_axes(vectors, width)
        if model.spec["vector"].get("normalize", True):
            targets = normalize(targets, dim=1)
        squared_length = float(targets.pow(2).sum(1).mean())
        soft_loss, parts = objective(model.task).soft_loss, LossParts(model.task)

        def loss(student: Tensor, batch: Batch) -> Tensor:
            indices = batch.rows.cpu()
            target, whole = (each[indices].to(student.device) for each in (targets, vectors))
            losses = {"vectors": soft_loss(student, target, 1.0) / max(squared_length, 1e-12)}
            if self.similarity:
                factor = _SIMILARITY_SCALE * self.similarity
                losses["similarity"] = factor * similarity_loss(student, whole)
            return parts.total(losses, student)

        model.scores = work.fit(model, loss=loss, unlabeled=work.unlabeled, metrics=parts.metrics)
        return {}

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the student's own spec builds it."""


def check_widths(teacher: str, teacher_width: int, width: int, may_project: bool) -> None:
    """Check that a student's vectors can be those of its teacher, or a projection of them.

    Args:
        teacher: reference of the teacher, for messages.
        teacher_width: numbers in a vector of the teacher.
        width: numbers in a vector of the student.
        may_project: whether the teacher's vectors may be projected.

    Raises:
        UsageError: they cannot.
    """
    if width > teacher_width:
        raise UsageError(
            f"the student's vectors have {width} numbers, and those of the teacher {teacher} "
            f"{teacher_width}: build a narrower student, for example with --hidden {teacher_width}"
        )
    if width < teacher_width and not may_project:
        raise UsageError(
            f"the vectors of the teacher {teacher} have {teacher_width} numbers, and the model's "
            f"{width} were projected when it was distilled: leave --teacher out, and the model "
            "learns from itself as it was"
        )


def principal_axes(vectors: Tensor, width: int) -> Tensor:
    """Return the axes (numbers, width) through the origin that keep most of the vectors' squares.

    The mean is not subtracted: cosine similarities are about the origin.

    Args:
        vectors: vectors (rows, numbers).
        width: number of axes.

    Source: Jolliffe 2002, "Principal Component Analysis", section 3.1.
    """
    products = vectors.double().T @ vectors.double()
    axes: Tensor = torch.linalg.eigh(products).eigenvectors.flip(1)[:, :width]
    return axes.to(vectors.dtype)


STEP = Vectors
