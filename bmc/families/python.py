"""The user's own network: python:module:function, whose function makes an nn.Module for images.

The code runs because it was typed. A model directory made so names the function, but loading it
imports nothing unless the same name is typed again (`--code`): see bmc/trust.py.
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.ImageOptions


def recipe(name: str) -> TrainingSettings:
    """Return how it is trained where the command line does not say."""
    return TrainingSettings(epochs=5, learning_rate=1e-3, batch_size=64)


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.python",
    prefix="python",
    references={"python:MODULE:FUNCTION": "your own nn.Module; runs your code"},
    runs_foreign_code=True,
)
