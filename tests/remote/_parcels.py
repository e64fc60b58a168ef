"""Bundles with a runner, for short measurements."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmc import bundle as bundles
from bmc.measure.latency import BenchSettings
from bmc.remote.parcel import Parcel, parcel_of

SHORT = BenchSettings(launches=2, rounds=2, length=8, turn_seconds=0.01)


def short_parcel(folders: Sequence[Path], settings: BenchSettings = SHORT) -> Parcel:
    """Return bundles with a runner that measures them with one thread."""
    return parcel_of(folders, (1,), settings, "f32")


def with_other_golden_outputs(bundle: Path, copy: Path) -> Path:
    """Copy a bundle whose recorded golden outputs are not those of its model."""
    shutil.copytree(bundle, copy)
    arrays = bundles.read_arrays(copy / bundles.GOLDEN)
    changed = {name: array + 1 if "output" in name else array for name, array in arrays.items()}
    np.savez(copy / bundles.GOLDEN, **changed)  # type: ignore[arg-type]
    bundles.write(copy, bundles.read(bundle).manifest)
    return copy
