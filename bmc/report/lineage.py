"""What a bundle's manifest says of its making: weights, teacher, steps and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bmc.bundle import Manifest
from bmc.provenance import commands_of

_MAX_LENGTH = 200  # characters of a name or version
_MAX_STEPS = 64


@dataclass(frozen=True)
class Lineage:
    """How the model of a bundle was made.

    Args:
        weights: sha256 of the model's weights; "" where it is not recorded.
        made_from: name of the model to which the last technique was applied; "" for none.
        made_from_weights: sha256 of that model's weights; "" where it is not recorded.
        teacher: name of the teacher; "" for none.
        teacher_weights: sha256 of the teacher's weights; "" for none.
        steps: techniques in the order in which they were applied, such as "quantize/static".
        commands: commands as they were typed, from the first to the export.
        fingerprint: fingerprint of the training data; "" where it is not recorded.
        versions: versions of the packages of the export, by package.
    """

    weights: str = ""
    made_from: str = ""
    made_from_weights: str = ""
    teacher: str = ""
    teacher_weights: str = ""
    steps: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    fingerprint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def lineage_of(manifest: Manifest) -> Lineage:
    """Return how a bundle's model was made; malformed entries are left out."""
    recorded = manifest.lineage
    teacher, data = _object(recorded.get("teacher")), _object(recorded.get("data"))
    versions = _object(manifest.build.get("versions"))
    steps = recorded.get("steps")
    return Lineage(
        weights=_text(recorded.get("weights_sha256")),
        made_from=_text(recorded.get("from")),
        made_from_weights=_text(recorded.get("from_sha256")),
        teacher=_text(teacher.get("name")),
        teacher_weights=_text(teacher.get("sha256")),
        steps=tuple(map(str, steps[:_MAX_STEPS])) if isinstance(steps, list) else (),
        commands=tuple(commands_of(recorded)),
        fingerprint=_text(data.get("fingerprint")),
        versions={name: _text(value) for name, value in versions.items() if _text(value)},
    )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value[:_MAX_LENGTH] if isinstance(value, str) else ""
