"""TensorRT engines: what they are built for."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.targets import tensorrt
from bmc.targets.tensorrt import build_engine


def _relu(folder: Path, shape: list[str | int | None]) -> Path:
    node = helper.make_node("Relu", ["pixels"], ["logits"])
    graph = helper.make_graph(
        [node],
        "relu",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    path = folder / "model.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.mark.parametrize("side", [28, 160])
def test_an_engine_is_built_for_images_of_any_size(side: int, tmp_path: Path) -> None:
    settings = ImageSettings(side, side, 1, (0.5,), (0.5,), any_size=True)
    encoder = ImageEncoder(settings)
    shape: list[str | int | None] = ["batch", 1, "height", "width"]
    path = _relu(tmp_path, shape)
    limits = {"batch": 2, **encoder.longest()}
    assert build_engine(path, encoder.tensors(), limits)


@pytest.mark.skipif(not tensorrt.RTX, reason="the full one says it itself")
@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 0), False), ((7, 5), True), ((8, 6), True), ((9, 0), False), ((13, 0), True)],
)
def test_tensorrt_for_rtx_runs_on_the_gpus_that_it_names_and_on_later_ones(
    capability: tuple[int, int], expected: bool
) -> None:
    assert tensorrt.runs_on(capability) is expected


@pytest.mark.skipif(not tensorrt.RTX, reason="the full one says it itself")
def test_a_gpu_that_this_tensorrt_does_not_run_on_is_named_and_counts_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an H100 was seen to be refused."""
    result = tensorrt.Gpu("NVIDIA H100 80GB HBM3", (9, 0))
    monkeypatch.setattr(tensorrt, "gpus", lambda: (result,))
    here = tensorrt.available()
    assert here.devices == ()
    assert "NVIDIA H100 80GB HBM3, compute capability 9.0" in here.note
    assert "pip install tensorrt" in here.note


def test_a_turing_gpu_gets_an_engine_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ImageSettings(8, 8, 1, (0.5,), (0.5,))
    encoder = ImageEncoder(settings)
    path = _relu(tmp_path, ["batch", 1, 8, 8])
    bundle = build_engine(path, encoder.tensors(), {"batch": 2})
    monkeypatch.setattr(tensorrt, "gpus", lambda: (tensorrt.Gpu("NVIDIA T4", (7, 5)),))
    assert build_engine(path, encoder.tensors(), {"batch": 2}) != bundle
