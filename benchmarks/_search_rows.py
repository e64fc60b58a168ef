"""The models that are searched for, their budgets and their time."""

from __future__ import annotations

from dataclasses import dataclass

TARGET = "openvino"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Row:
    """A model, its budgets and its time.

    Args:
        name: name of the row, and of the baseline.
        data: the data set.
        max_drop: points of the validation score that may be lost.
        max_size: budget of the size.
        max_latency: budget of the latency.
        minutes: time of a search.
        may_miss: whether it is enough to say how near the budgets a search came.
    """

    name: str
    data: str
    max_drop: float
    max_size: str
    max_latency: str
    minutes: float
    may_miss: bool = True

    @property
    def model(self) -> str:
        """Name of the uncompressed model in the workspace."""
        return f"{self.name}-{self.data}-0"


ROWS = (
    Row("bert", "movie-reviews", 1.0, "20MB", "1/6", 90, may_miss=False),
    Row("resnet18", "fashion-mnist", 1.0, "1/4", "1/3", 20),
    Row("cnn", "fashion-mnist", 1.0, "1/4", "1/2", 20),
    Row("lstm", "japanese-vowels", 1.0, "1/2", "0.8x", 20),
)
