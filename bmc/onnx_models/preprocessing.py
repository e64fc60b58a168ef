"""What a caller says of how images, texts and numbers become the inputs of an ONNX file."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields

from bmc.choices import Choice, about, check_choices
from bmc.errors import SettingError, UsageError

ORDERS = ("rgb", "bgr")
LAYOUTS = ("NCHW", "NHWC")
OF_IMAGES = ("scale", "mean", "std", "order", "crop", "stretch", "size", "layout")
OF_TEXTS = ("text", "max_length")
OF_NUMBERS = ("features",)
_MAX_SIZE = 4096
_MAX_COLUMNS = 2


@dataclass(frozen=True)
class Preprocessing:
    """Settings by which rows become inputs, where no file beside the model says so.

    The bytes of an image, 0 to 255, become (byte * scale - mean) / std.

    Args:
        scale: factor of an image's bytes; 1/255 makes them 0 to 1.
        mean: number to subtract from each channel, or one number for all channels.
        std: number by which each channel is then divided, or one number for all channels.
        order: order of the color channels, rgb or bgr.
        crop: share of an image's shorter side that is kept, in the middle; without it, the whole
            image is stretched to the model's size.
        stretch: height and width in pixels to which the whole image is stretched first; its middle
            of the model's size is kept.
        size: height and width in pixels, or one number for both, where the model takes any.
        layout: NCHW (channels first) or NHWC (channels last), where the shape does not tell.
        text: name of the column of texts; two names for pairs of texts.
        max_length: largest number of tokens of a text; the rest is cut.
        features: names of the columns of numbers, in the order of the model's input.

    Raises:
        SettingError: a value is outside its range.
    """

    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    order: str | None = field(default=None, metadata=about(Choice("channel order", ORDERS)))
    crop: float | None = None
    stretch: tuple[int, ...] = ()
    size: tuple[int, ...] = ()
    layout: str | None = field(default=None, metadata=about(Choice("layout", LAYOUTS)))
    text: tuple[str, ...] = ()
    max_length: int | None = None
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choices(self)
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise SettingError(f"scale is {self.scale}; it must be above 0, such as 1/255")
        if not all(math.isfinite(number) for number in self.mean):
            raise SettingError(f"mean is {self.mean}; each must be a finite number")
        if not all(0 < number < math.inf for number in self.std):
            raise SettingError(f"std is {self.std}; each must be above 0")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise SettingError(f"crop is {self.crop}; it must lie in 0..1, such as 0.875")
        if self.crop is not None and self.stretch:
            raise SettingError("crop keeps an image's proportions, and stretch does not: pass one")
        for name, sides in (("size", self.size), ("stretch", self.stretch)):
            if len(sides) > 2 or not all(1 <= side <= _MAX_SIZE for side in sides):
                raise SettingError(
                    f"{name} is {sides}; it must be one number or two, height and width, in "
                    f"1..{_MAX_SIZE}"
                )
        if self.max_length is not None and self.max_length < 1:
            raise SettingError(f"max length is {self.max_length}; it must be a number of tokens")
        if len(self.text) > _MAX_COLUMNS:
            raise SettingError(f"text names {len(self.text)} columns; 1, or 2 for pairs, are read")

    def refuse_except(self, names: Collection[str], what: str) -> None:
        """Refuse settings of another kind of rows.

        Args:
            names: names of the settings that fit.
            what: the rows, for the message, such as "rows.csv holds texts".

        Raises:
            UsageError: another setting is set.
        """
        for each in fields(self):
            if each.name not in names and getattr(self, each.name) != each.default:
                settings = ", ".join(names) or "none"
                raise UsageError(
                    f"--preprocess {each.name} does not fit: {what} (settings: {settings}); leave "
                    "it out"
                )
