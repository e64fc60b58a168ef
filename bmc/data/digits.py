"""Digits: 1,797 grey images of 8x8 pixels, ten classes; small enough for instant tests.

Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (UCI).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

ASSET = None


def images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the images (1797, 8, 8), values 0 to 1, and their classes (1797,)."""
    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)
