"""Model directories and bundles that an older bmc wrote load, and answer what they answered then.

tests/older/0.1 was written by bmc 0.1.0, with BMC_HOME there:

    bmc train mlp --data digits --epochs 3 --set width=16 --device cpu -o mlp
    bmc prune mlp --ratio 0.5 --epochs 1 -o pruned
    bmc quantize pruned --set rows=64 -o quantized
    bmc export quantized --target onnx --allow-slower -o quantized-onnx
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bmc import artifact, bundle, checking
from bmc.targets import RuntimeOptions
from tests._vnni import needs_vnni

FOLDERS = sorted(path for path in Path(__file__).parent.iterdir() if path.name[0].isdigit())
pytestmark = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@needs_vnni
def test_a_bundle_answers_its_golden_rows(folder: Path) -> None:
    checked = checking.check(folder / "quantized-onnx", RuntimeOptions(threads=1))
    assert checked.max_error < 1e-4
    assert len(checked.uncovered) == 2, "neither its manifest's hash nor raw golden rows"


def test_a_model_directory_answers_as_the_bundle_that_was_made_of_it(folder: Path) -> None:
    inputs, expected = bundle.read(folder / "quantized-onnx").golden()
    model = artifact.load(folder / "quantized")
    assert [step.method for step in model.steps] == ["prune/structured", "quantize/static"]
    with torch.no_grad():
        logits = model.module(torch.from_numpy(inputs["pixels"]))
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-4)


def test_a_model_directory_is_written_again_with_the_same_weights(
    folder: Path, tmp_path: Path
) -> None:
    model = artifact.load(folder / "quantized")
    again = artifact.load(artifact.save(model, tmp_path / "again"))
    before, after = model.module.state_dict(), again.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
