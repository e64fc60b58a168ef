"""What the techniques' tests share: small data, and work that trains for one epoch."""

from __future__ import annotations

from collections.abc import Callable
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
from tests.compress.quantized import build, work_on

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


@pytest.fixture
def build_model(reviews: Dataset, digits: Dataset) -> Callable[..., Model]:
    """Return a function that builds a small model of a family, always the same one."""
    return lambda family, layers=2: build(family, reviews, digits, layers)


@pytest.fixture
def work_of(reviews: Dataset, digits: Dataset, tmp_path: Path) -> Callable[[Model], Work]:
    """Return a function that makes the work of a model: on reviews or on digits."""
    return lambda model: work_on(model, reviews, digits, tmp_path)
