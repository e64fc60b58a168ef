"""The user's network: python:module:function, where the function returns an nn.Module for images.

bmc runs the function because the user typed its name. The model directory stores the name, and
loading the directory imports the module only if the user types the name again (`--code`): see
bmc/trust.py.
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.ImageOptions


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(epochs=5, learning_rate=1e-3, batch_size=64)


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.python",
    prefix="python",
    references={"python:MODULE:FUNCTION": "your own nn.Module; runs your code"},
    runs_user_code=True,
)
