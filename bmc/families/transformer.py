"""A transformer encoder trained from scratch: the mean over the tokens is classified.

Layers normalise what they read and not what they add to (pre-norm), which trains without pretrained
weights. Batch and sequence stay dynamic, the sequence up to `max_length`.

Source: Vaswani et al. 2017, "Attention Is All You Need"; Xiong et al. 2020, "On Layer Normalization
in the Transformer Architecture" (pre-norm).
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """How a transformer is built.

    Args:
        layers: how many.
        hidden: width of a token's vector.
        heads: of each attention; `hidden` divides by them.
        feed_forward: width between the two linears of each layer.
        dropout: share of the values that is dropped: of embeddings, of what each layer adds, and
            before the classifier.
        vocabulary: tokens at most.
        lowercase: whether the vocabulary drops case.
        strip_accents: whether it drops accents and all other marks, vowel signs and tones too.
        max_length: tokens of a text at most.

    Raises:
        SettingError: a setting is out of range.
    """

    layers: int = 2
    hidden: int = 128
    heads: int = 4
    feed_forward: int = 256
    dropout: float = 0.3
    vocabulary: int = 8000
    lowercase: bool = False
    strip_accents: bool = False
    max_length: int = 256

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "feed_forward"):
            if getattr(self, name) < 1:
                raise SettingError(
                    f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least 1"
                )
        if self.hidden % self.heads:
            raise SettingError(f"hidden {self.hidden} does not divide by {self.heads} heads")
        if self.hidden % 2:
            raise SettingError(f"hidden is {self.hidden}; sines and cosines need an even width")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        _options.check_vocabulary(self.vocabulary)


def recipe(name: str) -> TrainingSettings:
    """Return how a transformer is trained where the command line does not say."""
    return TrainingSettings(
        epochs=12,
        learning_rate=1e-3,
        batch_size=32,
        weight_decay=0.05,
        label_smoothing=0.1,
        augment=("word-drop",),
    )


FAMILY = Family(
    takes=("text",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.transformer",
    baselines={
        "transformer": "transformer encoder with a vocabulary of its own, trained from scratch",
    },
)
