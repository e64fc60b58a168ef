"""DistilBERT for classification of texts or words, from a Hugging Face folder.

Source: Sanh et al. 2019, "DistilBERT, a distilled version of BERT".
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.EncoderOptions


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of a DistilBERT."""
    return TrainingSettings(epochs=3, learning_rate=5e-5, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.distilbert",
    model_types=("distilbert",),
)
