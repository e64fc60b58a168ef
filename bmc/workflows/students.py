"""Choose and build students: those that families define by name, and models of `bmc train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bmc import console, workspace
from bmc.contracts import families
from bmc.contracts.tasks import EMBEDDING
from bmc.data import Dataset
from bmc.errors import DataError, UnknownError, unknown
from bmc.inputs.text import TextEncoder
from bmc.model import Model
from bmc.training.bundle_network import is_bundle
from bmc.training.identity import start_of
from bmc.workflows import baselines, student_folders, vectors
from bmc.workflows.baselines import Chosen
from bmc.workflows.settings import settings_from
from bmc.workflows.student_folders import AsTrained


def choose(reference: str, options: Mapping[str, Any]) -> Chosen:
    """Find the family and network of a student, and check the student's settings.

    Args:
        reference: a student's name, a model directory or its name in the workspace, or a model
            that `bmc train` takes: the name of a built-in model, a Hugging Face folder, hf:NAME,
            timm:NAME, or python:module:function.
        options: settings of the student by name, as typed strings or as values.

    Raises:
        UnknownError: there is no such student, or it has no such setting.
        UsageError: it is a bundle, which cannot be trained.
        SettingError: a setting is out of range.
    """
    owner = families.of_student(reference)
    if owner is not None:
        family = families.family(owner)
        base = family.students[reference]
        settings = replace(base, **settings_from(type(base), options, reference))
        return Chosen(
            reference,
            family,
            families.network(owner),
            settings,
            family.recipe(reference),
            family.recipes,
        )
    folder = None if reference in families.baselines() else student_folders.find(reference)
    if folder is not None:
        return student_folders.choose(str(folder), options)
    if not families.is_reference(reference):
        possible = [*families.students(), *(path.name for path in workspace.entries("model"))]
        raise unknown("student", reference, possible, "bmc models lists all")
    return baselines.choose(reference, options, taught=True)


def untrained(chosen: Chosen, teacher: Model, data: Dataset, seed: int) -> Model:
    """Build an untrained student, or load a model directory, with the classes of the data.

    Args:
        chosen: the student.
        teacher: a trained model.
        data: data that the student learns from.
        seed: random seed of the student's new weights.

    Raises:
        DataError: the student is for another kind of data.
        UsageError: the student cannot be built from this teacher, or is a model directory for
            other data.
        SettingError: the student's settings do not fit the teacher.
    """
    if isinstance(chosen.options, AsTrained):
        return student_folders.load(chosen, data)
    torch.manual_seed(seed)
    build = chosen.network.student
    if build is None or chosen.reference not in chosen.family.students:
        model = baselines.built(chosen, data)
    elif not set(data.kinds) & set(chosen.family.takes):
        raise DataError(
            f"the student {chosen.reference} takes {' or '.join(chosen.family.takes)}; "
            f"{data.name!r} holds {data.kind}: name another with --student (bmc models lists all)"
        )
    else:
        model = build(teacher, chosen.options, data)
    if data.task == EMBEDDING:
        vectors.refuse_other_models(model, chosen.reference)
    baselines.start_head(model, data)
    return model


def say_differences(student: Model, teacher: Model) -> None:
    """Report that a student is larger than its teacher, or reads other tokens."""
    size, teacher_size = map(_parameters, (student, teacher))
    if size > teacher_size and not is_bundle(teacher):
        console.note(
            f"the student is larger than its teacher: {size:,} parameters, and {teacher_size:,}"
        )
    encoders = student.encoder, teacher.encoder
    tokenizers = [
        encoder.tokenizer.to_str() for encoder in encoders if isinstance(encoder, TextEncoder)
    ]
    if len(tokenizers) == 2 and tokenizers[0] != tokenizers[1]:
        console.note(
            "the student reads other tokens than its teacher: the logits are all that it can learn"
        )


def identity(chosen: Chosen, student: Model) -> str:
    """Return a text that identifies the weights of a student before it is taught.

    A student that its family defines by name may be cut out of the teacher. Its weights can differ
    by rounding errors from build to build, so its settings identify it; the weights of any other
    student are hashed, and so are the files of the folder from which a named one starts.

    Args:
        chosen: the student.
        student: the student's model, untrained.
    """
    is_named = chosen.reference in chosen.family.students
    weights = _of_folder(getattr(chosen.options, "start", "")) if is_named else start_of(student)
    return f"{chosen.reference} {chosen.options} {weights}"


def _of_folder(start: str) -> str:
    """Return the sha256 of the folder from which a student starts; "" where it starts elsewhere."""
    if not start.startswith("hf:") and not (start and Path(start).is_dir()):
        return ""
    from bmc.models.hugging_face import folder_of  # noqa: PLC0415  imports transformers

    try:
        return vectors.folder_sha256(str(folder_of(start)))
    except UnknownError:  # a folder that only has the name of a built-in start
        return ""


def _parameters(model: Model) -> int:
    return sum(value.numel() for value in model.module.parameters())


def is_generator(chosen: Chosen) -> bool:
    """Tell whether a student is a generator, which returns images instead of logits."""
    return chosen.network.train is not None
