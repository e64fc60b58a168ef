"""Bundles of one exported network, copied with other names, lineages and predictions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bmc import bundle as bundles

Copy = Callable[..., Path]


def copy_bundle(
    exported: Path, folder: Path, *, noise: float = 0.0, seed: int = 0, **members: Any
) -> Path:
    """Copy a bundle, and change its lineage and its predictions.

    Args:
        exported: the bundle.
        folder: the folder of the copy.
        noise: standard deviation of what is added to the logits of the held-out rows.
        seed: seed of the noise.
        members: members of the lineage; "model" is the name of the model.
    """
    shutil.copytree(exported, folder)
    manifest = bundles.read(folder).manifest
    arrays = bundles.read_arrays(folder / bundles.EVALUATION)
    random = np.random.default_rng(seed)
    logits = arrays["logits"]
    changed = (logits + noise * random.standard_normal(logits.shape)).astype(np.float32)
    np.savez(folder / bundles.EVALUATION, logits=changed, labels=arrays["labels"])
    name = members.pop("model", folder.name)
    bundles.write(folder, replace(manifest, name=name, lineage={**manifest.lineage, **members}))
    return folder
