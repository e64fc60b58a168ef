"""What the techniques' tests share: small data, and work that trains for one epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from bmc import artifact
from bmc import data as datasets
from bmc.data import Dataset
from bmc.model import Model, Work
from bmc.models import image_networks
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

QUICK = TrainingSettings(epochs=1, precision="fp32", device="cpu")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Return the images of 8 x 8 that come with scikit-learn."""
    return datasets.load("digits")


@pytest.fixture
def work(digits: Dataset, tmp_path: Path) -> Work:
    """Return work on digits."""
    return work_for(
        digits, (), QUICK, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
    )


def wrapped(network: nn.Module, digits: Dataset) -> Model:
    """Return a model of digits around a network that bmc does not know."""
    encoder = image_networks.encoder_for(digits, 0)
    sizes = encoder.settings.channels, encoder.settings.height, encoder.settings.width
    module = image_networks.Wrapped(sizes, network).eval()
    return Model(module, "python", {"outputs": 10}, digits.labels, encoder, digits.task)
