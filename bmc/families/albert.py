"""ALBERT for classification of texts or words, from a Hugging Face folder.

Source: Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning".
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.EncoderOptions


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of an ALBERT."""
    return TrainingSettings(epochs=3, learning_rate=2e-5, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.albert",
    model_types=("albert",),
)
