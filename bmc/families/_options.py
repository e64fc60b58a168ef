"""Settings that several model families share, and their checks; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.errors import SettingError

_MIN_VOCABULARY, _MAX_VOCABULARY = 100, 200_000


@dataclass(frozen=True)
class ImageOptions:
    """Settings of every image family.

    Args:
        image_size: height and width that images are resized to; 0 keeps the size of the data's
            images, or resizes images of different sizes to the most common size.
    """

    image_size: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.image_size <= 4096:
            raise SettingError(f"image size is {self.image_size}; it must lie in 0..4096")


@dataclass(frozen=True)
class EncoderOptions:
    """Settings of an encoder of transformers that is fine-tuned.

    Args:
        max_length: largest number of tokens of a text; longer texts are truncated.
    """

    max_length: int = 128


def check_range(name: str, value: int, maximum: int = 2**16) -> None:
    """Check a setting that is a positive count.

    Raises:
        SettingError: the value is below 1 or above `maximum`.
    """
    if not 1 <= value <= maximum:
        raise SettingError(f"{name} is {value}; it must lie in 1..{maximum}")


def check_fraction(name: str, value: float) -> None:
    """Check a setting that is a fraction.

    Raises:
        SettingError: the value is not in [0, 1).
    """
    if not 0 <= value < 1:
        raise SettingError(f"{name} is {value}; it must lie in [0, 1)")


def check_vocabulary(size: int) -> None:
    """Check the vocabulary size of a tokenizer.

    Raises:
        SettingError: the size is too small for special tokens and an alphabet, or too large.
    """
    if not _MIN_VOCABULARY <= size <= _MAX_VOCABULARY:
        raise SettingError(
            f"vocabulary is {size}; it must lie in {_MIN_VOCABULARY}..{_MAX_VOCABULARY}"
        )
