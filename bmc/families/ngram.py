"""Hashed n-grams: the sum of an embedding for each n-gram of a text, and one linear layer.

It reads no word order beyond an n-gram, so that it shows what a larger network is worth; where
microseconds count, it is the right answer by itself.

Source: Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification" (hashed n-grams);
Ye et al. 2022, "Sparse Distillation" (taught by a large teacher on unlabeled texts).
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MOST_BUCKETS = 2**24
MOST_WIDTH = 1024


@dataclass(frozen=True)
class Settings:
    """How n-grams are read and embedded.

    Args:
        buckets: rows of the embedding; n-grams are hashed into them.
        width: width of the embedding; 0 takes one less than the number of classes, at most 16,
            which is all that a linear model can use.
        words: words of the longest word n-gram.
        characters: characters of the longest character n-gram, the shortest has 3; 0 for none.
        lowercase: whether case is dropped.
        max_length: words of a text at most.

    Raises:
        SettingError: a setting is out of range.
    """

    buckets: int = 2**18
    width: int = 0
    words: int = 2
    characters: int = 5
    lowercase: bool = True
    max_length: int = 256

    def __post_init__(self) -> None:
        if self.buckets < 1:
            raise SettingError(
                f"buckets is {self.buckets}, and every n-gram is looked up in one: leave it out "
                f"for {Settings.buckets}, or choose 1..{MOST_BUCKETS}"
            )
        _options.check_range("buckets", self.buckets, MOST_BUCKETS)
        if self.width:
            _options.check_range("width", self.width, MOST_WIDTH)


def recipe(name: str) -> TrainingSettings:
    """Return the default recipe of the training with labels, or with a teacher.

    A row of the embedding is rarely looked up. Adam's averages of its gradients would keep moving
    the row for a thousand steps, and decay to subnormal numbers, with which processors are slow.
    """
    return TrainingSettings(
        epochs=4,
        learning_rate=0.1,
        batch_size=64,
        optimizer="adagrad",
        weight_decay=0.0,
        precision="fp32",
        checkpoint_every=1000,
    )


FAMILY = Family(
    takes=("text",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.ngram",
    baselines={
        "ngram": "hashed word and character n-grams, summed, and one linear layer",
    },
    students={"ngram": Settings()},
)
