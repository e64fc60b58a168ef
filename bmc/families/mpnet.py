"""MPNet encoders for texts and words: the size of BERT-base, with higher accuracy.

MPNet takes texts of one column only: it has no token types to distinguish the texts of a pair.

Source: Song et al. 2020, "MPNet: Masked and Permuted Pre-training for Language Understanding".
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """Settings of an MPNet that is fine-tuned.

    Args:
        max_length: largest number of tokens of a text; longer texts are truncated, or read in
            overlapping windows where words are classified.
        prompt: name of a sentence-transformers folder's prompt, which is put before each text to
            embed, or none; the folder's default when empty.
    """

    max_length: int = 128
    prompt: str = ""


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of an MPNet."""
    return TrainingSettings(epochs=2, learning_rate=5e-5, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.mpnet",
    baselines={
        "mpnet": "MPNet: size of BERT-base, 12 layers x 768, 109.5 M parameters, pretrained",
    },
    model_types=("mpnet",),
)
