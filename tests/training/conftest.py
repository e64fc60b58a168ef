"""A small network with batch norm, and 300 real digits to train it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bmc import data as datasets
from bmc.data import Dataset, Examples
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.training.batches import Rows

ROWS = 200


class Net(nn.Module):
    """Convolution, batch norm, dropout and a linear layer, for 8x8 gray images.

    Args:
        outputs: number of classes, or 1 in a regression.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(64, outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, 1, 8, 8)."""
        hidden = torch.relu(self.norm(self.convolution(pixels))).flatten(1)
        logits: Tensor = self.output(self.dropout(hidden))
        return logits


@pytest.fixture
def make_net() -> Callable[..., Net]:
    """Return a function that builds the network, always with the same weights."""

    def make(outputs: int = 10) -> Net:
        torch.manual_seed(0)
        return Net(outputs)

    return make


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Return the digits with 200 training rows and 100 validation rows."""
    data = datasets.load("digits")
    train, validation = data.train, data.validation
    return replace(
        data,
        train=Examples(train.rows[:ROWS], train.labels[:ROWS]),
        validation=Examples(validation.rows[:100], validation.labels[:100]),
    )


@pytest.fixture(scope="session")
def digit_rows(digits: Dataset) -> tuple[Rows, Rows]:
    """Return the encoded training rows and validation rows of `digits`."""
    encoder = ImageEncoder(ImageSettings(8, 8, 1, (0.3,), (0.37,)))
    return (
        Rows(digits.train.rows, digits.train.labels, encoder),
        Rows(digits.validation.rows, digits.validation.labels, encoder),
    )
