"""A convolutional network over the words of a text, with maximum pooling over time.

Source: Kim 2014, "Convolutional Neural Networks for Sentence Classification".
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MAX_WIDTH, MAX_FILTERS = 16, 4096


@dataclass(frozen=True)
class Settings(_options.WordOptions):
    """Settings of a TextCNN.

    Args:
        widths: kernel sizes in words, such as 3,4,5.
        filters: number of filters of each kernel size.
        dropout: dropout probability after the token embeddings and before the output layer.

    Raises:
        SettingError: a setting is out of range.
    """

    widths: tuple[str, ...] = ("3", "4", "5")
    filters: int = 100
    dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _options.check_range("filters", self.filters, MAX_FILTERS)
        _options.check_fraction("dropout", self.dropout)
        if not self.widths or not all(
            str(width).isdecimal() and 1 <= int(width) <= MAX_WIDTH for width in self.widths
        ):
            raise SettingError(
                f"widths is {','.join(map(str, self.widths))!r:.60}; it must be whole numbers, 1 "
                f"to {MAX_WIDTH}, such as 3,4,5"
            )


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings without a teacher."""
    return TrainingSettings(epochs=8, learning_rate=2e-3, batch_size=32, precision="fp32")


def recipe_with(name: str, settings: Settings, taught: bool) -> TrainingSettings:
    """Return the default training settings, alone or with a teacher."""
    if taught:
        return TrainingSettings(epochs=3, learning_rate=5e-3, batch_size=64, precision="fp32")
    return recipe(name)


FAMILY = Family(
    takes=("text",),
    settings=Settings,
    recipe=recipe,
    recipe_with=recipe_with,
    network="bmc.models.textcnn",
    baselines={
        "textcnn": "TextCNN: convolutions over 3, 4 and 5 words, max-over-time pooling",
    },
)
