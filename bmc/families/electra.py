"""ELECTRA for classification of texts or words, from a Hugging Face folder.

Source: Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators".
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.EncoderOptions


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of an ELECTRA."""
    return TrainingSettings(epochs=3, learning_rate=1e-4, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.electra",
    model_types=("electra",),
)
