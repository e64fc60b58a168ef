"""Ranges of activations: values of large tensors are sampled from all of their axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper

from bmc.export.onnx_calibration import calibrate
from tests._onnx import save


def test_every_channel_of_a_large_image_is_seen(tmp_path: Path) -> None:
    path = save(
        tmp_path / "x.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        {"x": (1, 224, 224, 3)},
        {"y": (1, 224, 224, 3)},
    )
    random = np.random.default_rng(0)
    image = random.normal(size=(1, 224, 224, 3)).astype(np.float32)
    image[..., 0] /= 100  # were the first channel sampled alone, larger values would be outliers
    calibrated = calibrate(path, ["y"], [{"x": image}], "percentile", ["y"])
    assert calibrated.ranges["y"].fitted.scale * 255 > 2.5
    np.testing.assert_array_equal(calibrated.largest["y"], np.maximum(image, 0).max(axis=(0, 1, 2)))
