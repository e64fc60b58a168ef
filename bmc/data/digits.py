"""Digits: 1,797 gray images of 8x8 pixels, ten classes; small enough for instant tests.

Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (UCI).
"""

from __future__ import annotations

import numpy as np

from bmc.contracts import DataSet
from bmc.data import Table


def table() -> Table:
    """Return the images, uint8 (1797, 8, 8, 1), and their classes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  lists import this file

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, :, :, None]
    return Table(pixels, [str(label) for label in digits.target], kind="image")


DATA_SET = DataSet(
    about="1,797 gray images of 8x8 pixels, ten classes; small enough for instant tests",
    table=table,
    license="with scikit-learn",
)
