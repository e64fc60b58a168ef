"""BERT encoders for classification: the teacher `bert` and students of any size.

Source: Devlin et al. 2019, "BERT"; Turc et al. 2019, "Well-Read Students Learn Better" (sizes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """What can be chosen when a BERT is fine-tuned.

    Args:
        max_length: tokens of a text at most.
    """

    max_length: int = 128


@dataclass(frozen=True)
class Size:
    """How big a student is.

    Args:
        layers: number of layers.
        hidden: width of the residual stream.
        heads: attention heads of each layer.
    """

    layers: int = 2
    hidden: int = 128
    heads: int = 2

    def __post_init__(self) -> None:
        for name, value in (
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("heads", self.heads),
        ):
            if value < 1:
                raise SettingError(f"{name} is {value}; it must be at least 1")
        if self.hidden % self.heads:
            raise SettingError(
                f"hidden {self.hidden} does not divide by {self.heads} heads; "
                f"try {self.hidden // self.heads * self.heads or self.heads}"
            )


STUDENTS: Mapping[str, Size] = {
    "tiny": Size(layers=2, hidden=128, heads=2),
    "mini": Size(layers=4, hidden=256, heads=4),
    "small": Size(layers=4, hidden=384, heads=6),
}


TEACHERS: Mapping[str, int] = {"bert": 0, "mpnet": 2}
"""Families that a student can learn from, and the positions that they keep before a text's."""


def recipe(name: str) -> TrainingSettings:
    """Return how a BERT is fine-tuned, or a student is taught, where nobody says otherwise."""
    if name in STUDENTS:
        return TrainingSettings(epochs=3, learning_rate=2e-3, batch_size=128)
    return TrainingSettings(epochs=3, learning_rate=1e-4, batch_size=32)


FAMILY = Family(
    takes=("text",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.bert",
    baselines={
        "bert": "MiniLM: BERT, 6 layers x 384, 22.7 M parameters, pretrained",
        "minilm": "the same",
    },
    students=STUDENTS,
    references={
        "hf:ORG/NAME@REV": "a BERT or MPNet on the Hugging Face hub (needs a network)",
        "FOLDER": "a local Hugging Face folder of one, with model.safetensors",
    },
    model_types=("bert",),
)
