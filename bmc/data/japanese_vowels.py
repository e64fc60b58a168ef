"""Japanese vowels: 640 series of 12 channels and 7 to 29 steps, spoken by nine men.

Source: Kudo, Toyama and Shimbo 1999, "Multidimensional Curve Classification Using
Passing-Through Regions".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bmc import assets
from bmc.contracts import DataSet
from bmc.data import Table

_ASSET = "japanese-vowels"


def table() -> Table:
    """Read 270 series for training and the official 370 for testing."""
    folder = assets.fetch(_ASSET)
    test = _part(folder / "JapaneseVowels_TEST.ts", None)
    return _part(folder / "JapaneseVowels_TRAIN.ts", test)


def _part(path: Path, test: Table | None) -> Table:
    """Read the .ts format: one series per line, channels separated by colons, the class last."""
    rows: list[NDArray[np.float32]] = []
    labels: list[str] = []
    data = path.read_text(encoding="utf-8").partition("@data")[2]
    for line in data.split("\n")[1:]:
        if line.strip():
            *channels, label = line.strip().split(":")
            values = [np.array(channel.split(","), np.float32) for channel in channels]
            rows.append(np.stack(values, axis=1))
            labels.append(label)
    return Table(rows, labels, test, kind="series")


DATA_SET = DataSet(
    about="640 series of 12 channels and 7 to 29 steps, spoken by nine men",
    table=table,
    asset=_ASSET,
)
