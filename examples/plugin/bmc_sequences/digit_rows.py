"""Digits read row by row: 1,797 series of 8 steps and 8 channels, ten classes.

Source: Le, Jaitly and Hinton 2015, "A Simple Way to Initialize Recurrent Networks of Rectified
Linear Units" (images as sequences); the images are those of bmc's own data set `digits`.
"""

from __future__ import annotations

import numpy as np

from bmc.contracts import DataSet
from bmc.data import Table, digits


def table() -> Table:
    """Return the images' rows as series, float32 (8, 8), from the top, and their classes."""
    images = digits.table()
    series = [np.asarray(image, np.float32)[:, :, 0] / 255 for image in images.rows]
    return Table(series, images.labels, kind="series")


DATA_SET = DataSet(
    about="1,797 images of 8x8 pixels read row by row, as series of 8 steps; ten classes",
    table=table,
    license="with scikit-learn",
)
