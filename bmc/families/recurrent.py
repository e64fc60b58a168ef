"""Bidirectional recurrent networks over tokens, series or sound: plain RNN, LSTM and GRU.

Of sound they read log-mel energies, one step for each 20 ms.

Padding does not change the outputs of a row, in any target: both directions are layers that read
forward, and the second layer reads the row reversed within its length. (With packed sequences,
OpenVINO computes wrong outputs.) Batch size and sequence length stay dynamic.

Source: Schuster and Paliwal 1997, "Bidirectional Recurrent Neural Networks"; Hochreiter and
Schmidhuber 1997, "Long Short-Term Memory"; Cho et al. 2014, "Learning Phrase Representations using
RNN Encoder-Decoder" (GRU).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bmc.choices import Among, about
from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings

READOUTS = ("mean", "last")


@dataclass(frozen=True)
class Settings(_options.WordOptions, _options.AudioOptions):
    """Settings of a recurrent network; the token settings apply to text only.

    Args:
        hidden: width of the states of each direction.
        layers: number of bidirectional layers.
        dropout: dropout probability between layers and before the classifier.
        noise: standard deviation of the noise that training adds to normalized series.
        readout: input of the classifier: mean (of the states of all steps) or last (final state
            of each direction). Where words have tags, it is the state of each word.

    Raises:
        SettingError: a setting is out of range.
    """

    hidden: int = field(default=64, metadata=about(search=Among((16, 32, 48, 64))))
    layers: int = 1
    dropout: float = 0.3
    noise: float = 0.1
    readout: str = "mean"

    def __post_init__(self) -> None:
        _options.WordOptions.__post_init__(self)
        _options.AudioOptions.__post_init__(self)
        for name in ("hidden", "layers"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        if not 0 <= self.noise < 100:
            raise SettingError(f"noise is {self.noise}; it must lie in [0, 100)")
        if self.readout not in READOUTS:
            raise SettingError(f"readout is {self.readout!r}; possible: {', '.join(READOUTS)}")


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of a recurrent network."""
    return TrainingSettings(
        epochs=40, learning_rate=3e-3, batch_size=16, weight_decay=0.01, precision="fp32"
    )


def recipe_with(name: str, settings: Settings, taught: bool) -> TrainingSettings:
    """Return the default training settings of a recurrent network with some settings.

    Networks over word vectors need few epochs, and fewer on the many texts of a teacher.
    """
    if not settings.vectors:
        return recipe(name)
    return TrainingSettings(
        epochs=3 if taught else 8,
        learning_rate=5e-3 if taught else 2e-3,
        batch_size=64 if taught else 32,
        precision="fp32",
    )


FAMILY = Family(
    takes=("text", "words", "series", "audio"),
    settings=Settings,
    recipe=recipe,
    recipe_with=recipe_with,
    network="bmc.models.recurrent",
    baselines={
        "rnn": "plain bidirectional recurrent network over tokens, series or sound",
        "lstm": "the same with long short-term memory",
        "gru": "the same with gated recurrent units",
    },
    recipes={
        "audio": TrainingSettings(
            epochs=20,
            learning_rate=3e-3,
            batch_size=64,
            precision="fp32",
            augment=("shift", "speed", "noise"),
        ),
    },
)
