"""Images become the input of an ONNX file: from its shape, settings and files, or refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from bmc.errors import ArtifactError, BmcError, SettingError
from bmc.onnx_models.image_inputs import pixel_format
from bmc.onnx_models.preprocessing import Preprocessing
from bmc.onnx_models.reading import OnnxFile, read
from tests._onnx import save

DYNAMIC = ("N", "c", "h", "w")


def identity(
    path: Path, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT, inputs: int = 1
) -> OnnxFile:
    """Return a file whose outputs are its inputs."""
    names = [f"x{index}" for index in range(inputs)]
    nodes = [helper.make_node("Identity", [name], [f"y{name}"]) for name in names]
    outputs = {f"y{name}": shape for name in names}
    types = dict.fromkeys([*names, *outputs], dtype)
    return read(save(path, nodes, dict.fromkeys(names, shape), outputs, types=types))


def test_layout_and_size_are_those_of_the_shape(tmp_path: Path) -> None:
    settings = Preprocessing(scale=1 / 255, mean=(0.5,))
    first = pixel_format(identity(tmp_path / "a.onnx", ("N", 3, 6, 8)), settings)
    last = pixel_format(identity(tmp_path / "b.onnx", (2, 6, 8, 1)), settings)
    assert (first.size, first.is_channels_first, first.rows) == ((6, 8, 3), True, 1)
    assert (last.size, last.is_channels_first, last.rows) == ((6, 8, 1), False, 2)
    assert (first.mean, first.std) == ((0.5,) * 3, (1.0,) * 3)


def test_bytes_keep_their_values_in_the_order_and_layout_of_the_model(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    file = identity(tmp_path / "a.onnx", (1, 4, 4, 3), TensorProto.UINT8)
    middle = pixel_format(file, Preprocessing(crop=1.0, order="bgr"))
    tensor = middle.tensor_of(tmp_path / "x.png")
    assert tensor.dtype == np.uint8
    assert np.array_equal(tensor, pixels[:, 2:6, ::-1])
    stretched = pixel_format(file, Preprocessing()).tensor_of(tmp_path / "x.png")
    assert stretched.shape == (4, 4, 3)
    assert not np.array_equal(stretched, pixels[:, 2:6])


@pytest.mark.parametrize(
    ("config", "size", "crop", "numbers"),
    [
        (
            {
                "size": {"shortest_edge": 16},
                "do_center_crop": True,
                "crop_size": 8,
                "do_normalize": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.25] * 3,
            },
            (8, 8, 3),
            0.5,
            (1 / 255, (0.5,) * 3, (0.25,) * 3),
        ),
        (
            {"size": {"height": 6, "width": 8}, "do_rescale": False, "do_flip_channel_order": True},
            (6, 8, 3),
            None,
            (1.0, (0.0,) * 3, (1.0,) * 3),
        ),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "rescale_factor": 0.01},
            (224, 224, 3),
            0.875,
            (0.01, (0.0,) * 3, (1.0,) * 3),
        ),
        (
            {
                "size": {"shortest_edge": 16},
                "do_center_crop": True,
                "crop_size": 16,
                "crop_pct": 0.75,
            },
            (16, 16, 3),
            0.75,
            (1 / 255, (0.0,) * 3, (1.0,) * 3),
        ),
        (
            {
                "size": {"height": 8, "width": 8},
                "crop_pct": None,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "include_top": True,
            },
            (8, 8, 3),
            None,
            (1 / 255, (0.5,) * 3, (0.25,) * 3),
        ),
    ],
)
def test_preprocessor_config_says_what_the_shape_does_not(
    tmp_path: Path, config: dict[str, Any], size: Any, crop: float | None, numbers: Any
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    (tmp_path / "onnx").mkdir()
    file = identity(tmp_path / "onnx" / "model.onnx", DYNAMIC)
    pixels = pixel_format(file, Preprocessing())
    assert (pixels.size, pixels.crop, pixels.is_channels_first) == (size, crop, True)
    assert (pixels.scale, pixels.mean, pixels.std) == numbers
    assert pixels.is_bgr == ("do_flip_channel_order" in config)
    assert pixel_format(file, Preprocessing(scale=1.0)).scale == 1.0


def test_a_height_and_a_width_before_a_crop_stretch_the_whole_image(tmp_path: Path) -> None:
    config = {"size": {"height": 8, "width": 8}, "do_center_crop": True, "crop_size": 4}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    pixels = pixel_format(identity(tmp_path / "model.onnx", DYNAMIC), Preprocessing())
    assert (pixels.size, pixels.crop, pixels.stretch) == ((4, 4, 3), None, (8, 8))
    for typed in (Preprocessing(crop=0.5), Preprocessing(stretch=(6,))):  # in place of the file's
        pixels_typed = pixel_format(identity(tmp_path / "model.onnx", DYNAMIC), typed)
        assert (pixels_typed.crop, pixels_typed.stretch) == (
            (0.5, ()) if typed.crop else (None, (6, 6))
        )
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 255  # in an image of 8 x 8, columns 2 to 6: all of its middle
    assert (pixels.tensor_of(wide)[0] > 0.4).all()
    wide[:, 4:12], wide[:, :4], wide[:, 12:] = 0, 255, 255  # what keeps proportions would not see
    assert pixels.tensor_of(wide).max() < 0.6


@pytest.mark.parametrize(
    ("resample", "said"), [(3, "by bicubic interpolation; bmc resizes"), (2, ""), ([3], "")]
)
def test_another_interpolation_than_bmcs_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], resample: Any, said: str
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"resample": resample}))
    pixel_format(identity(tmp_path / "x.onnx", ("N", 3, 8, 8)), Preprocessing())
    output = " ".join(capsys.readouterr().err.split())
    assert said in output if said else not output


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rescale_offset": True}, "sets rescale_offset, which bmc does not do"),
        ({"do_resize": False, "do_center_crop": True, "crop_size": 8}, "do_resize is not, which"),
        ({"do_pad": True}, "sets do_pad, which bmc does not do"),
        ({"keep_aspect_ratio": True}, "sets keep_aspect_ratio, which bmc does not do"),
        ({"do_normalize": True}, "image_mean is None; it must be a list of numbers"),
        ({"size": {"height": "8"}}, "a size is"),
        ({"do_center_crop": True, "size": 8}, "crop_size has no height and width"),
        ({"rescale_factor": "x"}, "rescale_factor is 'x'"),
        ({"image_mean": [0.5], "image_std": [0]}, "std is"),
    ],
)
def test_a_preprocessor_config_that_cannot_be_followed_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=message):
        pixel_format(identity(tmp_path / "x.onnx", ("N", 3, 8, 8)), Preprocessing())


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        (("N", 3, 8, 8), {}, r"scale=1/255 makes them 0..1 .* put preprocessor_config.json beside"),
        (DYNAMIC, {"scale": 1.0}, "--preprocess layout=NCHW or --preprocess layout=NHWC"),
        (("N", 3, "h", "w"), {"scale": 1.0}, "images of any size: .* --preprocess size=224"),
        (("N", 3, 8, 8), {"scale": 1.0, "size": (9,)}, "takes images of 8 x 8 pixels: leave"),
        (("N", 3, 8, 8), {"scale": 1.0, "mean": (1.0, 2.0)}, "mean has 2 numbers; .* 3 channels"),
        (("N", 4, 8, 8), {"scale": 1.0, "layout": "NCHW"}, "with 4 channels in layout NCHW"),
        (("N", 8), {"scale": 1.0}, "which is not a batch of images: save arrays"),
        (("N", 8, 8), {"scale": 1.0, "layout": "NCHW"}, "without an axis of channels: save arrays"),
    ],
)
def test_what_is_not_known_is_refused_with_the_setting(
    tmp_path: Path, shape: Sequence[int | str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BmcError, match=message):
        pixel_format(identity(tmp_path / "x.onnx", shape), Preprocessing(**settings))


def test_other_inputs_than_one_image_are_refused(tmp_path: Path) -> None:
    two = identity(tmp_path / "x.onnx", ("N", 3, 8, 8), inputs=2)
    with pytest.raises(BmcError, match=r"takes 2 inputs .* save arrays"):
        pixel_format(two, Preprocessing(scale=1.0))
    of_bytes = identity(tmp_path / "y.onnx", ("N", 3, 8, 8), TensorProto.UINT8)
    with pytest.raises(BmcError, match="takes the bytes of images as they are"):
        pixel_format(of_bytes, Preprocessing(scale=1.0))
    signed = identity(tmp_path / "z.onnx", ("N", 3, 8, 8), TensorProto.INT8)
    with pytest.raises(BmcError, match="int8, which does not hold the bytes of images"):
        pixel_format(signed, Preprocessing())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 0.0}, "scale is 0.0"),
        ({"mean": (float("nan"),)}, "mean is"),
        ({"std": (0.0,)}, "std is"),
        ({"crop": 1.5}, "crop is 1.5"),
        ({"size": (0,)}, "size is"),
        ({"order": "rbg"}, "channel order|order is 'rbg'"),
        ({"layout": "CHW"}, "layout is 'CHW'; possible: NCHW, NHWC"),
        ({"max_length": 0}, "max length is 0"),
        ({"text": ("a", "b", "c")}, "names 3 columns"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Preprocessing(**settings)
