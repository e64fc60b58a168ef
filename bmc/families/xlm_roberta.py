"""XLM-RoBERTa for classification of texts or words, from a Hugging Face folder.

Source: Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale".
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.EncoderOptions


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of an XLM-RoBERTa."""
    return TrainingSettings(epochs=3, learning_rate=2e-5, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.xlm_roberta",
    model_types=("xlm-roberta",),
)
