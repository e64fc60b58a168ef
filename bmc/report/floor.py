"""The floor of a report: bundles of simple models, which show what the networks are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Floor:
    """Bundles of simple models that a report shows besides its own.

    Args:
        folders: what each model is, by the folder of its bundle.
        notes: sentences on models that could not be made.
    """

    folders: Mapping[Path, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
