"""Networks that a Python caller wraps with `bmc.wrap`; rows are arrays, or words with tags."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """A wrapped network has no settings."""


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(epochs=5, learning_rate=1e-3, batch_size=64)


FAMILY = Family(
    takes=("array", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.memory",
    prefix="memory",
)
