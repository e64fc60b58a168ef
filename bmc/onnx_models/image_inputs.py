"""Find out how images become the input of an ONNX file: from its shape, settings and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from bmc.errors import UsageError
from bmc.onnx_models.companions import PREPROCESSOR
from bmc.onnx_models.pixels import PixelFormat
from bmc.onnx_models.preprocessing import LAYOUTS, Preprocessing
from bmc.onnx_models.preprocessor_config import preprocessing_beside
from bmc.onnx_models.reading import Declared, OnnxFile

_CHANNELS = (1, 3)
_COLOR = 3
_CUTS = ("crop", "stretch")  # settings that say which part of an image is kept
_AXES = (3, 4)
_AS_ARRAYS = "save arrays of its inputs as an .npz file"


def pixel_format(file: OnnxFile, typed: Preprocessing) -> PixelFormat:
    """Return how images become the input of a file.

    Size and layout are those of the input's shape. What the caller did not type is read from a
    preprocessor_config.json beside the file.

    Args:
        file: the model.
        typed: settings of the caller.

    Raises:
        UsageError: the file takes no images, or neither its shape, the settings nor a
            preprocessor_config.json say how they become its input.
        ArtifactError: preprocessor_config.json is damaged.
    """
    info, shape = _image_input(file)
    beside = preprocessing_beside(file.path)
    settings = typed if beside is None else _with_defaults(typed, beside)
    first = len(shape) - 3  # index of the first axis of an image
    channels_axis = _channels_axis(info, shape, first, typed.layout, settings.layout)
    channels = shape[channels_axis]
    sides = [axis for axis in range(first, len(shape)) if axis != channels_axis]
    count = channels if isinstance(channels, int) else _COLOR
    height, width = _size(info, [shape[axis] for axis in sides], typed.size, settings.size)
    rows = shape[0] if first and isinstance(shape[0], int) else 1
    is_bgr = settings.order == "bgr" and count == _COLOR
    numbers = _numbers(file, info, typed, settings, count)
    return PixelFormat(
        info.name,
        info.dtype,
        (height, width, count),
        channels_axis == first,
        *numbers,
        is_bgr,
        settings.crop,
        rows,
        _both_sides(settings.stretch),
    )


def _both_sides(sides: tuple[int, ...]) -> tuple[int, int] | tuple[()]:
    """Return height and width, of which one number stands for both."""
    return (sides[0], sides[-1]) if sides else ()


def _image_input(file: OnnxFile) -> tuple[Declared, tuple[int | str, ...]]:
    """Return the only input of a file, and its shape.

    Raises:
        UsageError: the input is no image.
    """
    if len(file.inputs) != 1:
        names = ", ".join(info.name for info in file.inputs)
        raise UsageError(
            f"{file.path} takes {len(file.inputs)} inputs ({names:.100}), and images are one: "
            f"{_AS_ARRAYS}"
        )
    info = file.inputs[0]
    if info.shape is None or len(info.shape) not in _AXES or np.dtype(info.dtype).kind not in "fiu":
        shape = ", ".join(map(str, info.shape or ("any",)))
        raise UsageError(
            f"{file.path}: input {info.name!r} is {info.dtype} ({shape}), which is not a batch of "
            f"images: {_AS_ARRAYS}"
        )
    return info, info.shape


def _with_defaults(typed: Preprocessing, defaults: Preprocessing) -> Preprocessing:
    """Return settings in which those that were not typed have other values."""
    missing = {
        each.name: getattr(defaults, each.name)
        for each in fields(typed)
        if getattr(typed, each.name) == each.default
    }
    if typed.crop is not None or typed.stretch:  # either takes the place of both
        missing = {name: value for name, value in missing.items() if name not in _CUTS}
    return replace(typed, **missing)


def _channels_axis(
    info: Declared, shape: Sequence[int | str], first: int, typed: str | None, default: str | None
) -> int:
    """Return the axis of the channels.

    Args:
        info: the input.
        shape: its shape.
        first: index of the first axis of an image.
        typed: the layout that the caller typed.
        default: the layout of the files beside the model, for a shape that does not tell.

    Raises:
        UsageError: the layout is not known, or has another number of channels than 1 and 3, or the
            shape may be that of a batch of gray images.
    """
    axes = {"NCHW": first, "NHWC": len(shape) - 1}
    sizes = ", ".join(map(str, shape))
    is_free, last = isinstance(shape[0], str), shape[-1]
    if first == 0 and is_free and isinstance(last, int) and last not in _CHANNELS:
        raise UsageError(
            f"input {info.name!r} is ({sizes}), gray images without an axis of channels: "
            f"{_AS_ARRAYS}"
        )
    if typed is None:
        possible = [axis for axis in axes.values() if shape[axis] in _CHANNELS]
        if len(possible) == 1:
            return possible[0]
        if default is None:
            ways = " or ".join(f"--preprocess layout={layout}" for layout in LAYOUTS)
            raise UsageError(
                f"the shape of input {info.name!r}, ({sizes}), does not tell where the channels "
                f"are: {ways}"
            )
    axis = axes[typed or str(default)]
    channels = shape[axis]
    if isinstance(channels, int) and channels not in _CHANNELS:
        raise UsageError(
            f"input {info.name!r} is ({sizes}), with {channels} channels in layout "
            f"{typed or default}; images have 1 or 3: {_AS_ARRAYS}"
        )
    return axis


def _size(
    info: Declared, sides: Sequence[int | str], typed: Sequence[int], default: Sequence[int]
) -> tuple[int, int]:
    """Return height and width.

    Args:
        info: the input.
        sides: height and width of the input's shape; names where it takes any.
        typed: what the caller typed: (), one number, or height and width.
        default: the same, or what a file beside the model says.

    Raises:
        UsageError: the size is not known, or another one was typed.
    """
    sizes = (*default, *default)[:2] if len(default) == 1 else tuple(default)
    known = [
        side if isinstance(side, int) else sizes[index] if sizes else 0
        for index, side in enumerate(sides)
    ]
    if not all(known):
        raise UsageError(
            f"input {info.name!r} takes images of any size: choose one with --preprocess size=224"
        )
    if typed and tuple(known) != sizes:
        raise UsageError(
            f"input {info.name!r} takes images of {known[0]} x {known[1]} pixels: leave "
            "--preprocess size out"
        )
    return known[0], known[1]


def _numbers(
    file: OnnxFile, info: Declared, typed: Preprocessing, settings: Preprocessing, channels: int
) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Return the factor of the bytes, and mean and std of each channel.

    Raises:
        UsageError: they are not known, do not fit the channels, or the input takes bytes or int8.
    """
    if info.dtype == "int8":
        raise UsageError(
            f"input {info.name!r} is int8, which does not hold the bytes of images, 0 to 255: "
            f"{_AS_ARRAYS}"
        )
    if np.dtype(info.dtype).kind != "f":
        if typed.scale is not None or typed.mean or typed.std:
            raise UsageError(
                f"input {info.name!r} is {info.dtype}, which takes the bytes of images as they "
                "are: leave --preprocess scale, mean and std out"
            )
        return 1.0, (0.0,) * channels, (1.0,) * channels
    if settings.scale is None:
        raise UsageError(
            f"how the bytes of images become input {info.name!r} is not known: --preprocess "
            "scale=1/255 makes them 0..1 (with mean=0.485,0.456,0.406 and std=0.229,0.224,0.225 "
            "for most PyTorch models, mean=0.5 and std=0.5 for -1..1), scale=1 leaves 0..255; or "
            f"put {PREPROCESSOR} beside {file.path}"
        )
    mean, std = (
        _of_channels(name, values, empty, channels)
        for name, values, empty in (("mean", settings.mean, 0.0), ("std", settings.std, 1.0))
    )
    return settings.scale, mean, std


def _of_channels(
    name: str, values: Sequence[float], empty: float, channels: int
) -> tuple[float, ...]:
    """Return a number for each channel."""
    if len(values) > 1 and len(values) != channels:
        raise UsageError(
            f"--preprocess {name} has {len(values)} numbers; the model takes {channels} channels"
        )
    return tuple(values) if len(values) > 1 else (values[0] if values else empty,) * channels
