"""DS-CNN: depthwise-separable convolutions over log-mel energies, for keyword spotting.

Source: Zhang et al. 2017, "Hello Edge: Keyword Spotting on Microcontrollers" (DS-CNN-S); Banbury et
al. 2021, "MLPerf Tiny Benchmark" (keyword spotting).
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.families import _options
from bmc.families._options import MAX_FREQUENCY as MAX_FREQUENCY
from bmc.families._options import MAX_MELS as MAX_MELS
from bmc.families._options import MIN_FREQUENCY as MIN_FREQUENCY
from bmc.families._options import MIN_MELS as MIN_MELS
from bmc.families._options import AudioOptions as AudioOptions
from bmc.training.settings import TrainingSettings

MAX_WIDTH, MAX_BLOCKS = 4096, 64


@dataclass(frozen=True)
class Settings(_options.AudioOptions):
    """Settings of the network.

    Args:
        width: channels of every convolution.
        blocks: number of depthwise-separable blocks.
        dropout: dropout probability before the output layer.
    """

    width: int = 64
    blocks: int = 4
    dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _options.check_range("width", self.width, MAX_WIDTH)
        _options.check_range("blocks", self.blocks, MAX_BLOCKS)
        _options.check_fraction("dropout", self.dropout)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(
        epochs=20,
        learning_rate=5e-3,
        batch_size=64,
        weight_decay=1e-3,
        augment=("shift", "speed", "noise"),
        checkpoint_every=1000,
    )


FAMILY = Family(
    takes=("audio",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.ds_cnn",
    baselines={
        "ds-cnn": "depthwise-separable network for keyword spotting: 64 channels, 4 blocks",
    },
)
