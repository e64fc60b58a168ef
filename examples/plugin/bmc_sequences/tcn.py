"""Temporal convolutional networks: causal, dilated convolutions over series.

Source: Bai, Kolter and Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent
Networks for Sequence Modeling".
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.training.settings import TrainingSettings

RANGES = {"hidden": (1, 4096), "blocks": (1, 12), "kernel": (2, 31)}


@dataclass(frozen=True)
class Settings:
    """How a temporal convolutional network is built.

    Args:
        hidden: channels of every block.
        blocks: number of residual blocks; each looks back twice as far as the previous block.
        kernel: time steps that a convolution reads.
        dropout: fraction of the values that is dropped after each convolution.
        max_length: time steps of a series at most.

    Raises:
        SettingError: a setting is out of range.
    """

    hidden: int = 32
    blocks: int = 3
    kernel: int = 3
    dropout: float = 0.1
    max_length: int = 1024

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise SettingError(
                    f"{name} is {getattr(self, name)}; it must lie in {least}..{most}"
                )
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout}; it must lie in [0, 1)")


def recipe(name: str) -> TrainingSettings:
    """Return how a network is trained where the command line does not say."""
    return TrainingSettings(epochs=20, learning_rate=3e-3, batch_size=32, weight_decay=0.01)


FAMILY = Family(
    takes=("series",),
    settings=Settings,
    recipe=recipe,
    network="bmc_sequences.tcn_network",
    baselines={"tcn": "temporal convolutional network over series: 3 residual blocks of 32"},
)
