"""TensorRT engines: what they are built for."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.targets.tensorrt import build_engine


@pytest.mark.parametrize("side", [28, 160])
def test_an_engine_is_built_for_images_of_any_size(side: int, tmp_path: Path) -> None:
    settings = ImageSettings(side, side, 1, (0.5,), (0.5,), any_size=True)
    encoder = ImageEncoder(settings)
    shape: list[str | int | None] = ["batch", 1, "height", "width"]
    node = helper.make_node("Relu", ["pixels"], ["logits"])
    graph = helper.make_graph(
        [node],
        "relu",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    limits = {"batch": 2, **encoder.longest()}
    assert build_engine(path, encoder.tensors(), limits)
