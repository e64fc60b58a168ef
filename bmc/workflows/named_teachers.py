"""Find the teachers that a user names for a distillation, and check each against the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc import console
from bmc.compress.distill.generator import check_generators
from bmc.contracts.data_sets import DATA_SETS
from bmc.data import Dataset
from bmc.errors import UnknownError, UsageError
from bmc.memory import PREFIX
from bmc.training.mixkd import check_models
from bmc.training.settings import MIXKD
from bmc.workflows import baselines, students, teachers, transfer
from bmc.workflows.baselines import Chosen
from bmc.workflows.data import DataSource
from bmc.workflows.lessons import refuse_mixed_bundle, refuse_signals
from bmc.workflows.lineage import (
    columns_of,
    described,
    fold_of,
    is_bundle,
    located,
    refuse_another_fold,
)
from bmc.workflows.teachers import Teacher
from bmc.workflows.tuning import Distillation


def find_all(
    references: str | Sequence[str], task: str = "classification"
) -> list[tuple[str, Path | None]]:
    """Return each teacher's reference and its folder; None for a baseline's name.

    Args:
        references: references of the teachers, in a sequence or in one string, separated by commas.
            A string that is the path of a folder names one teacher, even if it has a comma.
        task: name of the task; folders of Hugging Face and sentence-transformers teach vectors.

    Raises:
        UsageError: a reference is empty, or named twice.
        UnknownError: there is no such teacher.
    """
    names = _split(references) if isinstance(references, str) else tuple(references)
    if not names or not all(names):
        raise UsageError(f"--teacher {references!r} has an empty name: name one teacher or several")
    if len(set(names)) < len(names):
        raise UsageError(f"--teacher {','.join(names)} names a teacher twice: once is enough")
    return [(name, teachers.find(name, task)) for name in names]


def data_of(references: str | Sequence[str], named: str | None = None) -> Mapping[str, Any]:
    """Return the record of the data that the first of a student's teachers was trained on.

    Args:
        references: the teachers; see `find_all`.
        named: the student's data, as the user named it; None where none is named.

    Returns:
        {} of a built-in model, which has none yet, and of what is no teacher.

    Raises:
        UsageError: no data is named, and a bundle, which may come from anywhere, says which it was:
            what a student learns from is not up to a bundle.
        DataError: no data is named, and the teacher does not say which it was.
        UnknownError: no data is named, and the teacher's is not where it was.
        ArtifactError: a value of the record is malformed.
    """
    names = _split(references) if isinstance(references, str) else tuple(references)
    try:
        folder = teachers.find(names[0]) if names else None
    except UnknownError:  # `find_all` reports it
        return {}
    if folder is None:
        return {}
    recorded: Mapping[str, Any] = described(folder).get("data") or {}
    fold_of(recorded, folder)
    columns_of(recorded, folder)
    if named is not None:
        return recorded
    reference = str(recorded.get("reference"))
    if not is_bundle(folder):
        return {**recorded, "location": located(recorded, folder)}
    if reference not in DATA_SETS.names() and not reference.startswith(PREFIX):
        raise UsageError(
            f"the teacher {folder} is a bundle, and what it was trained on ({reference:.60}) is "
            "named by it alone: name the student's data with --data"
        )
    return {**recorded, "location": None}


def _split(references: str) -> tuple[str, ...]:
    if Path(references).exists():
        return (references,)
    return tuple(name.strip() for name in references.split(","))


def choose_all(
    references: Sequence[tuple[str, Path | None]],
    data: Dataset,
    source: DataSource,
    settings: Distillation,
    student: Chosen,
    learned_from: Mapping[str, Any],
) -> list[Teacher]:
    """Check the teachers of a student against the data; train baselines that are not trained yet.

    Args:
        references: reference and folder of each teacher, as `find_all` returns them.
        data: data that the student learns from.
        source: source of the data.
        settings: settings of the student and of its training.
        student: the student.
        learned_from: record of the data.

    Raises:
        UsageError: a teacher does not fit the data, has learned rows that are held out here, has
            the same weights as another teacher, or is a bundle and lacks what a signal or mixed
            texts need.
    """
    first = references[0][1]
    if first is not None and is_bundle(first):  # signals beside the logits are the first one's
        refuse_signals(settings, first)
    for _, folder in references:
        if folder is not None and is_bundle(folder):
            refuse_mixed_bundle(settings, folder)
    checked = [
        _teacher(reference, folder, data, source, settings, student, learned_from, number == 0)
        for number, (reference, folder) in enumerate(references)
    ]
    folders: dict[str, Path] = {}
    for teacher in checked:
        if teacher.sha256 in folders:
            raise UsageError(
                f"the teachers {folders[teacher.sha256]} and {teacher.folder} have the same "
                "weights: name one of them"
            )
        folders[teacher.sha256] = teacher.folder
    return checked


def _teacher(
    reference: str,
    folder: Path | None,
    data: Dataset,
    source: DataSource,
    settings: Distillation,
    student: Chosen,
    learned_from: Mapping[str, Any],
    is_first: bool,
) -> Teacher:
    """Check a teacher against the data; train it first if it is a baseline not trained yet.

    Args:
        reference: reference of the teacher, as the user named it.
        folder: the teacher's model directory or bundle; None for the name of a built-in model.
        data: data that the student learns from.
        source: source of the data.
        settings: settings of the student and of its training.
        student: the student.
        learned_from: record of the data.
        is_first: whether it is the first teacher, whose word vectors make new texts.

    Raises:
        UsageError: the teacher does not fit the data, or has learned rows that are held out here.
    """
    chosen = "named"
    if folder is None:
        folder, is_trained = teachers.find_baseline(reference, data, source.fold)
        chosen = "found" if is_trained else "trained"
        if not is_trained:
            _check_student(reference, data, student, settings, is_first)
            teachers.train(reference, data, source, settings.seed, settings.device, folder)
    refuse_another_fold(folder, learned_from)
    if students.is_generator(student):
        teachers.check_generator(folder, data)
    else:
        teachers.check(folder, data, data.labels)
    teacher = teachers.teacher_of(folder, chosen)
    teachers.note_failure(folder)
    if chosen == "named":
        what = "manifest" if is_bundle(folder) else "weights"
        console.note(f"teacher: {folder}, as named ({what} {teacher.sha256[:12]})")
    return teacher


def _check_student(
    teacher: str, data: Dataset, student: Chosen, settings: Distillation, is_first: bool
) -> None:
    """Build a student of an untrained teacher, to raise its errors before a long training.

    Raises:
        UsageError: one of the two is a generator and the other is not, words are to be replaced
            and the teacher has no table of word vectors, or texts are to be mixed and one of the
            two cannot read mixtures.
        BmcError: the student cannot be built for this teacher and this data.
    """
    chosen = baselines.choose(teacher, {})
    is_generator = students.is_generator(student)
    if students.is_generator(chosen) != is_generator:
        raise UsageError(
            f"{teacher} is no generator, so it cannot teach {student.reference}: name a gan"
            if is_generator
            else f"{teacher} answers no rows, so it cannot teach: name a classifier"
        )
    built = baselines.built(chosen, data)
    if is_first:
        transfer.check_edits(settings, built)
    untrained = students.untrained(student, built, data, seed=0)
    if MIXKD in (settings.augment or ()):
        check_models(untrained, teacher, built)
    if is_generator:
        check_generators(teacher, built, untrained)
