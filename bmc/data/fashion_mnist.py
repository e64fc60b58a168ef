"""Fashion-MNIST: 70,000 gray images of 28x28 pixels, ten kinds of clothes.

Source: Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms".
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bmc import assets
from bmc.contracts import DataSet
from bmc.data import Table
from bmc.errors import AssetError

_ASSET = "fashion-mnist"
_CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def table() -> Table:
    """Read 60,000 images for training and the official 10,000 for testing."""
    folder = assets.fetch(_ASSET)
    return _part(folder, "train", _part(folder, "t10k", None))


def _part(folder: Path, name: str, test: Table | None) -> Table:
    images = _idx(folder / f"{name}-images-idx3-ubyte.gz")
    labels = _idx(folder / f"{name}-labels-idx1-ubyte.gz")
    return Table(images[..., None], [_CLASSES[label] for label in labels], test, kind="image")


def _idx(path: Path) -> NDArray[np.uint8]:
    """Read LeCun's IDX format: a magic number with the rank, the sizes, then bytes."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if content[:3] != b"\0\0\x08" or len(pixels) != int(np.prod(shape)):
        raise AssetError(f"{path} is no IDX file of bytes")
    return pixels.reshape(shape)


DATA_SET = DataSet(
    about="70,000 gray images of 28x28 pixels, ten kinds of clothes",
    table=table,
    asset=_ASSET,
)
