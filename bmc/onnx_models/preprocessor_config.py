"""Read how a Hugging Face model's images are preprocessed: preprocessor_config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmc import console
from bmc.errors import ArtifactError, SettingError
from bmc.onnx_models.companions import PREPROCESSOR, beside, json_beside
from bmc.onnx_models.preprocessing import Preprocessing

_BYTE = 1 / 255
_NORMALIZATION = ("image_mean", "image_std")
# What these switches do to an image is not written in the file, or depends on the image.
_UNREAD = (
    "rescale_offset",
    "offset",
    "do_thumbnail",
    "do_align_long_axis",
    "do_pad",
    "keep_aspect_ratio",
)
_RESAMPLING = {0: "nearest", 1: "lanczos", 3: "bicubic", 4: "box", 5: "hamming"}  # as in Pillow
_STRETCHED_FROM = 384  # pixels: transformers' ConvNextImageProcessor crops smaller images only


def preprocessing_beside(model: Path) -> Preprocessing | None:
    """Return the preprocessing that preprocessor_config.json says; None where there is no file.

    Args:
        model: the ONNX file.

    Raises:
        ArtifactError: the file is damaged, or says something that bmc does not do.

    Source: transformers 5, the image processors of ViT, ResNet (ConvNextImageProcessor), CLIP,
        MobileNet, MobileViT, EfficientNet, PoolFormer and DPT.
    """
    path = beside(model, PREPROCESSOR)
    if path is None:
        return None
    config = json_beside(model, PREPROCESSOR)
    if switches := [name for name in _UNREAD if config.get(name)]:
        raise ArtifactError(
            f"{path} sets {switches[0]}, which bmc does not do: save the preprocessed images as an "
            ".npz file"
        )
    method = config.get("resample")
    if config.get("do_resize", True) and type(method) is int and method in _RESAMPLING:
        console.note(
            f"{path} resizes images by {_RESAMPLING[method]} interpolation; bmc resizes them by "
            "bilinear interpolation, so outputs for images of another size than the model's may "
            "differ a little"
        )
    try:
        return _preprocessing(config)
    except (SettingError, ValueError) as error:
        raise ArtifactError(f"{path}: {error}") from error


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    scale = _number(config, "rescale_factor", _BYTE) if config.get("do_rescale", True) else 1.0
    is_normalized = config.get("do_normalize", "image_mean" in config)
    mean, std = (_numbers(config, name) if is_normalized else () for name in _NORMALIZATION)
    if config.get("include_top"):  # EfficientNet divides by image_std a second time
        once = _numbers(config, "image_std")
        std = tuple(number**2 for number in once) if is_normalized else once
    size, crop, stretch = _size_and_crop(config)
    order = "bgr" if config.get("do_flip_channel_order") else "rgb"
    return Preprocessing(scale, mean, std, order, crop, stretch, size, "NCHW")


def _size_and_crop(
    config: Mapping[str, Any],
) -> tuple[tuple[int, ...], float | None, tuple[int, ...]]:
    """Return how images get the model's size.

    Returns:
        height and width, () where they vary; the share of the shorter side that is kept, None where
        the image is stretched; the height and width to which it is stretched first, of which the
        middle is kept, () for no such step.
    """
    size = _sides(config.get("size"))
    if config.get("do_center_crop") and not config.get("do_resize", True):
        raise ValueError(
            "do_center_crop is set and do_resize is not, which bmc does not do: save the "
            "preprocessed images as an .npz file"
        )
    share = 1.0 if config.get("crop_pct") is None else _number(config, "crop_pct", 1.0)
    if config.get("do_center_crop"):
        crop = _sides(config.get("crop_size"))
        if "height" not in crop or "width" not in crop:
            raise ValueError("do_center_crop is set, and crop_size has no height and width")
        height, width = crop["height"], crop["width"]
        if isinstance(config.get("size"), dict) and {"height", "width"} <= size.keys():
            return (height, width), None, (size["height"], size["width"])
        shorter = size.get("shortest_edge", size.get("height", min(height, width)))
        return (height, width), min(1.0, min(height, width) * share / shorter), ()
    edge = size.get("shortest_edge", size.get("height"))
    if edge is not None and config.get("crop_pct") is not None:
        return (edge, edge), None if edge >= _STRETCHED_FROM else share, ()
    if "height" in size and "width" in size:
        return (size["height"], size["width"]), None, ()
    return (), None, ()  # the other side depends on the image


def _sides(value: Any) -> Mapping[str, int]:
    """Return the sides of a size; one number stands for height and width."""
    if value is None:
        return {}
    sides = {"height": value, "width": value} if type(value) is int else value
    known = ("height", "width", "shortest_edge", "longest_edge")
    if not isinstance(sides, dict) or not all(
        name in known and type(side) is int and side > 0 for name, side in sides.items()
    ):
        raise ValueError(f"a size is {value!r:.60}; it must hold height and width in pixels")
    return sides


def _number(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r:.40}; it must be a number")
    return float(value)


def _numbers(config: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = config.get(name)
    entries: list[Any] = values if isinstance(values, list) else [values]
    if not all(type(entry) in (int, float) for entry in entries):
        raise ValueError(
            f"{name} is {values!r:.60}; it must be a list of numbers, since do_normalize is set"
        )
    return tuple(float(entry) for entry in entries)
