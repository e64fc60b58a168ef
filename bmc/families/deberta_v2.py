"""DeBERTa-v2 and DeBERTa-v3 for classification of texts or words, from a Hugging Face folder.

Source: He et al. 2021, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention"; He et al.
2023, "DeBERTaV3".
"""

from __future__ import annotations

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

Settings = _options.EncoderOptions


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of a DeBERTa."""
    return TrainingSettings(epochs=3, learning_rate=2e-5, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.deberta_v2",
    model_types=("deberta-v2",),
)
