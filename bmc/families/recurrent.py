"""Recurrent networks over tokens or series: plain, LSTM and GRU, in both directions.

A padded row answers like an unpadded one, in every target: both directions are layers that read
forward, the second one a copy of the row that is reversed within its own length. (A packed sequence
would do the same, but OpenVINO answers wrongly for it.) Batch and sequence stay dynamic.

Source: Schuster and Paliwal 1997, "Bidirectional Recurrent Neural Networks"; Hochreiter and
Schmidhuber 1997, "Long Short-Term Memory"; Cho et al. 2014, "Learning Phrase Representations using
RNN Encoder-Decoder" (GRU).
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings

READOUTS = ("mean", "last")


@dataclass(frozen=True)
class Settings:
    """How a recurrent network is built.

    Args:
        hidden: width of each direction.
        layers: how many, one on the other.
        dropout: share of the values between layers, and before the classifier, that is dropped.
        noise: standard deviation of the noise on normalised series in training.
        readout: mean (of all steps' states) or last (each direction's state at its end).
        embedding: width of a token's vector.
        vocabulary: tokens at most.
        lowercase: whether the vocabulary drops case.
        strip_accents: whether it drops accents and all other marks, vowel signs and tones too.
        max_length: tokens or time steps of a row at most.

    Raises:
        SettingError: a setting is out of range.
    """

    hidden: int = 64
    layers: int = 1
    dropout: float = 0.3
    noise: float = 0.1
    readout: str = "mean"
    embedding: int = 128
    vocabulary: int = 8000
    lowercase: bool = False
    strip_accents: bool = False
    max_length: int = 256

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "embedding"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        if not 0 <= self.noise < 100:
            raise SettingError(f"noise is {self.noise}; it must lie in [0, 100)")
        if self.readout not in READOUTS:
            raise SettingError(f"readout is {self.readout!r}; possible: {', '.join(READOUTS)}")
        _options.check_vocabulary(self.vocabulary)


def recipe(name: str) -> TrainingSettings:
    """Return how a recurrent network is trained where the command line does not say."""
    return TrainingSettings(
        epochs=40, learning_rate=3e-3, batch_size=16, weight_decay=0.01, precision="fp32"
    )


FAMILY = Family(
    takes=("text", "series"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.recurrent",
    baselines={
        "rnn": "plain recurrent network, both directions, over tokens or series",
        "lstm": "the same with long short-term memory",
        "gru": "the same with gated recurrent units",
    },
)
