"""A transformer encoder trained from scratch, with a classifier on the mean of the token vectors.

The layers are pre-norm, which trains well without pretrained weights. Batch size and sequence
length stay dynamic, the length up to `max_length`.

Source: Vaswani et al. 2017, "Attention Is All You Need"; Xiong et al. 2020, "On Layer Normalization
in the Transformer Architecture" (pre-norm).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """Settings of a transformer.

    Args:
        layers: number of layers.
        hidden: width of the token vectors; it must be divisible by `heads`.
        heads: number of attention heads of each layer.
        feed_forward: width of the feed-forward part of each layer.
        dropout: dropout probability of embeddings, of each residual branch, and before the
            classifier.
        vocabulary: largest number of tokens in the vocabulary.
        lowercase: whether the tokenizer lowercases texts.
        strip_accents: whether the tokenizer removes accents and all other combining marks,
            including vowel signs and tone marks.
        max_length: largest number of tokens of a text; longer texts are truncated.
        ngrams: number of buckets of hashed n-grams of the tokens, whose summed vectors are added to
            the vector that the classifier reads; 0 for none.

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
    ngrams: int = 0

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "feed_forward"):
            if getattr(self, name) < 1:
                raise SettingError(
                    f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least 1"
                )
        if self.hidden % self.heads:
            raise SettingError(f"hidden {self.hidden} is not divisible by {self.heads} heads")
        if self.hidden % 2:
            raise SettingError(f"hidden is {self.hidden}; sines and cosines need an even width")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        _options.check_vocabulary(self.vocabulary)
        _options.check_ngrams(self.ngrams)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of a transformer."""
    return TrainingSettings(
        epochs=12,
        learning_rate=1e-3,
        batch_size=32,
        weight_decay=0.05,
        label_smoothing=0.1,
        augment=("word-drop",),
    )


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.transformer",
    baselines={
        "transformer": "transformer encoder with a new vocabulary, trained from scratch",
    },
    recipes={"words": replace(recipe("transformer"), augment=())},
)
