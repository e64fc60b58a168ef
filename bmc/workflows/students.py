"""Students: those that families offer by name, and any model that `bmc train` could train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, console
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import DataError, unknown
from bmc.inputs.text import TextEncoder
from bmc.model import Model
from bmc.training.identity import start_of
from bmc.workflows import baselines, student_folders
from bmc.workflows.baselines import Chosen
from bmc.workflows.settings import settings_from
from bmc.workflows.student_folders import AsTrained


def choose(reference: str, options: Mapping[str, Any]) -> Chosen:
    """Find what builds a student, and check the options that it is built with.

    Args:
        reference: a student's name, a model directory, or a model that `bmc train` takes: the name
            of a built-in model, a Hugging Face folder, hf:NAME, timm:NAME, or
            python:module:function.
        options: settings of the student, by name; as typed, or in their own types.

    Raises:
        UnknownError: there is no such student, or it has no such setting.
        SettingError: a setting is out of range.
    """
    owner = families.of_student(reference)
    if owner is not None:
        family = families.family(owner)
        base = family.students[reference]
        settings = replace(base, **settings_from(type(base), options, reference))
        return Chosen(
            reference, family, families.network(owner), settings, family.recipe(reference)
        )
    if not families.is_reference(reference):
        raise unknown("student", reference, families.students(), "bmc models lists all")
    named = reference in families.baselines()
    if not named and artifact.is_model_directory(Path(reference)):
        return student_folders.choose(reference, options)
    return baselines.choose(reference, options)


def untrained(chosen: Chosen, teacher: Model, data: Dataset, seed: int) -> Model:
    """Build an untrained student, or load a model directory, with the data's classes in order.

    Args:
        chosen: the student.
        teacher: a trained model.
        data: what the student learns from.
        seed: of its fresh weights, whatever was drawn before.

    Raises:
        DataError: the student is for another kind of data.
        UsageError: it cannot be built from this teacher, or is a model directory for other data.
        SettingError: its settings do not fit the teacher.
    """
    if isinstance(chosen.options, AsTrained):
        return student_folders.load(chosen, data)
    torch.manual_seed(seed)
    build = chosen.network.student
    if build is None or chosen.reference not in chosen.family.students:
        model = baselines.built(chosen, data)
    elif data.kind not in chosen.family.takes:
        raise DataError(
            f"the student {chosen.reference} takes {' or '.join(chosen.family.takes)}; "
            f"{data.name!r} holds {data.kind}: name another with --student (bmc models lists all)"
        )
    else:
        model = build(teacher, chosen.options, data)
    baselines.start_head(model, data)
    return model


def say_differences(student: Model, teacher: Model) -> None:
    """Say where a student is larger than its teacher, or reads other tokens."""
    mine, theirs = map(_parameters, (student, teacher))
    if mine > theirs:
        console.note(f"the student is larger than its teacher: {mine:,} parameters, and {theirs:,}")
    encoders = student.encoder, teacher.encoder
    texts = [each.tokenizer.to_str() for each in encoders if isinstance(each, TextEncoder)]
    if len(texts) == 2 and texts[0] != texts[1]:
        console.note(
            "the student reads other tokens than its teacher: the logits are all that it can learn"
        )


def identity(chosen: Chosen, student: Model) -> str:
    """Return what tells a student before it is taught from another of the same structure.

    What is cut out of a teacher has the same weights but for rounding, so its settings stand for
    them.

    Args:
        chosen: the student.
        student: as it was built.
    """
    named = chosen.reference in chosen.family.students
    return f"{chosen.reference} {chosen.options} {'' if named else start_of(student)}"


def _parameters(model: Model) -> int:
    return sum(value.numel() for value in model.module.parameters())


def is_generator(chosen: Chosen) -> bool:
    """Tell whether a student draws images of noise, and so has no logits."""
    return chosen.network.train is not None
