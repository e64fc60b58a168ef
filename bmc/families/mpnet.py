"""MPNet encoders for classification: as big as BERT-base, and better.

Texts of one column only: MPNet has no token types that would tell a pair's texts apart.

Source: Song et al. 2020, "MPNet: Masked and Permuted Pre-training for Language Understanding".
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """What can be chosen when an MPNet is fine-tuned.

    Args:
        max_length: tokens of a text at most.
    """

    max_length: int = 128


def recipe(name: str) -> TrainingSettings:
    """Return how an MPNet is fine-tuned where the command line does not say."""
    return TrainingSettings(epochs=2, learning_rate=5e-5, batch_size=32)


FAMILY = Family(
    takes=("text",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.mpnet",
    baselines={
        "mpnet": "MPNet: as big as BERT-base, 12 layers x 768, 109.5 M parameters, pretrained",
    },
    model_types=("mpnet",),
)
