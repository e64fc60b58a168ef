"""The teachers that `bmc distill` names: one or several, each checked against the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc import console
from bmc.compress.distill.generator import check_generators
from bmc.data import Dataset
from bmc.errors import UsageError
from bmc.workflows import baselines, students, teachers
from bmc.workflows.baselines import Chosen
from bmc.workflows.data import DataSource
from bmc.workflows.lineage import refuse_another_fold
from bmc.workflows.teachers import Teacher
from bmc.workflows.tuning import Distillation


def find_all(references: str | Sequence[str]) -> list[tuple[str, Path | None]]:
    """Return each teacher's reference and its model directory; None for a baseline's name.

    Args:
        references: of the teachers; in one string they have commas between them. A folder whose
            name has a comma is one teacher.

    Raises:
        UsageError: a reference is empty, or named twice.
        UnknownError: there is no such teacher.
    """
    names = _split(references) if isinstance(references, str) else tuple(references)
    if not names or not all(names):
        raise UsageError(f"--teacher {references!r} has an empty name: name one teacher or several")
    if len(set(names)) < len(names):
        raise UsageError(f"--teacher {','.join(names)} names a teacher twice: once is enough")
    return [(name, teachers.find(name)) for name in names]


def _split(references: str) -> tuple[str, ...]:
    if Path(references).exists():
        return (references,)
    return tuple(name.strip() for name in references.split(","))


def choose_all(
    found: Sequence[tuple[str, Path | None]],
    data: Dataset,
    source: DataSource,
    settings: Distillation,
    student: Chosen,
    learned_from: Mapping[str, Any],
) -> list[Teacher]:
    """Return the teachers that may teach on this data; baselines are trained where they were not.

    Args:
        found: from `find_all`.
        data: what the student learns from.
        source: where that comes from.
        settings: how the student is taught.
        student: what is built.
        learned_from: record of the data.

    Raises:
        UsageError: a teacher does not fit the data, has learned rows that are held out here, or
            has the weights of another one.
    """
    chosen = [
        _teacher(reference, folder, data, source, settings, student, learned_from)
        for reference, folder in found
    ]
    folders: dict[str, Path] = {}
    for teacher in chosen:
        if teacher.sha256 in folders:
            raise UsageError(
                f"the teachers {folders[teacher.sha256]} and {teacher.folder} have the same "
                "weights: name one of them"
            )
        folders[teacher.sha256] = teacher.folder
    return chosen


def _teacher(
    reference: str,
    folder: Path | None,
    data: Dataset,
    source: DataSource,
    settings: Distillation,
    student: Chosen,
    learned_from: Mapping[str, Any],
) -> Teacher:
    """Return a teacher that may teach on this data; a baseline is trained where it was not yet.

    Args:
        reference: as it was named.
        folder: its model directory; None for the name of a built-in model.
        data: what the student learns from.
        source: where that comes from.
        settings: how the student is taught.
        student: what is built.
        learned_from: record of the data.

    Raises:
        UsageError: the teacher does not fit the data, or has learned rows that are held out here.
    """
    chosen = "named"
    if folder is None:
        folder, is_there = teachers.find_baseline(reference, data, source.fold)
        chosen = "found" if is_there else "trained"
        if not is_there:
            _check_student(reference, data, student)
            teachers.train(reference, data, source, settings.seed, settings.device, folder)
    refuse_another_fold(folder, learned_from)
    if students.is_generator(student):
        teachers.check_generator(folder, data)
    else:
        teachers.check(folder, data, data.labels)
    teacher = teachers.teacher_of(folder, chosen)
    if chosen == "named":
        console.note(f"teacher: {folder}, as named (weights {teacher.sha256[:12]})")
    return teacher


def _check_student(teacher: str, data: Dataset, student: Chosen) -> None:
    """Build the student of an untrained teacher: what does not fit is said before hours of work."""
    chosen = baselines.choose(teacher, {})
    draws = students.is_generator(student)
    if students.is_generator(chosen) != draws:
        raise UsageError(
            f"{teacher} is no generator, so it cannot teach {student.reference}: name a gan"
            if draws
            else f"{teacher} answers no rows, so it cannot teach: name a classifier"
        )
    built = baselines.built(chosen, data)
    untrained = students.untrained(student, built, data, seed=0)
    if draws:
        check_generators(teacher, built, untrained)
