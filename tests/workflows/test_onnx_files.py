"""What verbs say about the samples of an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from bmc.onnx_models.reading import read
from bmc.workflows.onnx_samples import samples_for
from bmc.workflows.options import SampledFiles
from tests._onnx import INT64, save


@pytest.mark.parametrize("padding", [True, False])
def test_padded_samples_are_said(
    tmp_path: Path, padding: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    node = helper.make_node("Neg", ["attention_mask"], ["y"])
    inputs, kinds = {"attention_mask": ("N", "S")}, {"attention_mask": INT64, "y": INT64}
    file = read(save(tmp_path / "x.onnx", [node], inputs, {"y": ("N", "S")}, types=kinds))
    masks = np.array([[1, 1, 1], [1, 1, not padding]])
    samples_for(file, SampledFiles(), {"attention_mask": masks})
    assert ("attention_mask holds zeros" in capsys.readouterr().err) == padding
