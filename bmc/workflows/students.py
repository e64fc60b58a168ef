"""Students: those that families offer by name, and any model that `bmc train` could train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import DataError, unknown
from bmc.model import Model
from bmc.workflows import baselines
from bmc.workflows.baselines import Chosen
from bmc.workflows.settings import settings_from


def choose(reference: str, options: Mapping[str, Any]) -> Chosen:
    """Find what builds a student, and check the options that it is built with.

    Args:
        reference: a student's name, or a model that `bmc train` takes: the name of a built-in
            model, a Hugging Face folder, hf:NAME, timm:NAME, or python:module:function.
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
    return baselines.choose(reference, options)


def untrained(chosen: Chosen, teacher: Model, data: Dataset, seed: int) -> Model:
    """Build an untrained student; its classes are the data's, in the data's order.

    Args:
        chosen: the student.
        teacher: a trained model.
        data: what the student learns from.
        seed: of its fresh weights, whatever was drawn before.

    Raises:
        DataError: the student is for another kind of data.
        UsageError: it cannot be built from this teacher.
        SettingError: its settings do not fit the teacher.
    """
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
