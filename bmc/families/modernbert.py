"""ModernBERT for classification of texts or words, from a Hugging Face folder.

Source: Warner et al. 2024, "Smarter, Better, Faster, Longer" (ModernBERT).
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.EncoderOptions


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of a ModernBERT."""
    return TrainingSettings(epochs=3, learning_rate=5e-5, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.modernbert",
    model_types=("modernbert",),
)
