"""A network that a Python caller gave by value, for rows of arrays: `bmc.wrap`."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """A wrapped network is as it was given: there is nothing to choose."""


def recipe(name: str) -> TrainingSettings:
    """Return how it is trained where the caller does not say."""
    return TrainingSettings(epochs=5, learning_rate=1e-3, batch_size=64)


FAMILY = Family(
    takes=("array",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.memory",
    prefix="memory",
)
