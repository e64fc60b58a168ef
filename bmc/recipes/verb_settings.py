"""The verbs that a step can call, and the settings classes of each; importing them is light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bmc.contracts.export_options import ExportOptions
from bmc.training.settings import TrainingSettings
from bmc.workflows.data import DataSource
from bmc.workflows.options import (
    Architecture,
    CompressedFiles,
    OwnCode,
    Pruning,
    Quantization,
    QuantizedFiles,
    SampledFiles,
    Sharing,
)
from bmc.workflows.tuning import Distillation, Tuning

TEACHER = "teacher"


@dataclass(frozen=True)
class Verb:
    """A verb that a step can call.

    Args:
        defaults: an object of each settings class, whose fields a step may set; a name that
            several classes have belongs to the first.
        models: arguments of the verb that are models, besides the fields of `in_settings`.
        in_settings: fields of the settings classes that name a model as well.
        own: class whose mapping `settings` holds what belongs to the technique or the network;
            None where the verb has none.
        optional: arguments of `models` that may be left out, with their value then.
    """

    defaults: tuple[Any, ...]
    models: tuple[str, ...] = ("model",)
    in_settings: tuple[str, ...] = ()
    own: type | None = None
    optional: Mapping[str, str] = field(default_factory=dict)


VERBS: Mapping[str, Verb] = {
    "train": Verb(
        (TrainingSettings(), DataSource(), Architecture(), OwnCode()),
        own=Architecture,
        optional={"model": "bert"},
    ),
    "distill": Verb(
        (Distillation(), DataSource(), OwnCode()),
        models=(TEACHER,),
        in_settings=("student",),
        own=Distillation,
    ),
    "prune": Verb(
        (Pruning(), Tuning(), CompressedFiles(), OwnCode()), in_settings=(TEACHER,), own=Pruning
    ),
    "share": Verb(
        (Sharing(), Tuning(), CompressedFiles(), OwnCode()), in_settings=(TEACHER,), own=Sharing
    ),
    "quantize": Verb(
        (Quantization(), Tuning(epochs=0), QuantizedFiles(), OwnCode()),
        in_settings=(TEACHER,),
        own=Quantization,
    ),
    "export": Verb((ExportOptions(), SampledFiles(), OwnCode())),
}
"""The verbs of a step by name, in the order in which they are mostly called."""


def fields_of(verb: str) -> tuple[str, ...]:
    """Return the names of a verb's settings, without those of a technique or network."""
    return tuple(
        dict.fromkeys(each.name for group in VERBS[verb].defaults for each in fields(group))
    )
