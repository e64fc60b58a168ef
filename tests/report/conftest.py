"""One exported network, from which tests make the bundles that they report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bmc import artifact
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.data import Examples
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.models import mlp
from tests.report._bundles import Copy, copy_bundle

ROWS = 60


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a perceptron for digits that predicts most of 60 held-out rows."""
    folder = tmp_path_factory.mktemp("exported")
    digits = datasets.load("digits")
    data = replace(digits, test=Examples(digits.test.rows[:ROWS], digits.test.labels[:ROWS]))
    torch.manual_seed(0)
    model = mlp.baseline("mlp", data, mlp.Settings(width=8))
    model.data = {"reference": "digits", "fingerprint": digits.fingerprint}
    with source_of(artifact.save(model, folder / "mlp"), data, ExportOptions()) as source:
        flow.export(source, "pytorch", folder / "mlp-pytorch", force=False)
    bundle = folder / "mlp-pytorch"
    manifest = bundles.read(bundle).manifest
    labels = bundles.read_arrays(bundle / bundles.EVALUATION)["labels"]
    logits = 4 * np.eye(10, dtype=np.float32)[labels]
    logits[::10] = np.roll(logits[::10], 1, axis=1)  # a tenth of the rows is wrong
    np.savez(bundle / bundles.EVALUATION, logits=logits, labels=labels)
    bundles.write(bundle, manifest)
    return bundle


@pytest.fixture
def put(exported: Path, workspace: Path) -> Copy:
    """Return a function that puts the bundle into the workspace, under a name, changed."""

    def copy(name: str, **changes: object) -> Path:
        workspace.mkdir(exist_ok=True)
        return copy_bundle(exported, workspace / name, **changes)  # type: ignore[arg-type]

    return copy
