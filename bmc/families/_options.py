"""Settings that several model families have, and their checks; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.errors import SettingError

_SMALLEST_VOCABULARY, _LARGEST_VOCABULARY = 100, 200_000


@dataclass(frozen=True)
class ImageOptions:
    """What can be chosen for every image family.

    Args:
        image_size: height and width that images are resized to; 0 takes the data's own size, or,
            where files are of mixed sizes, the most common one.
    """

    image_size: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.image_size <= 4096:
            raise SettingError(f"image size is {self.image_size}; it must lie in 0..4096")


def check_range(name: str, value: int, most: int = 2**16) -> None:
    """Check a setting that counts something.

    Raises:
        SettingError: it is below 1 or above `most`.
    """
    if not 1 <= value <= most:
        raise SettingError(f"{name} is {value}; it must lie in 1..{most}")


def check_share(name: str, value: float) -> None:
    """Check a setting that is a share.

    Raises:
        SettingError: it is not in [0, 1).
    """
    if not 0 <= value < 1:
        raise SettingError(f"{name} is {value}; it must lie in [0, 1)")


def check_vocabulary(size: int) -> None:
    """Check how many tokens a tokenizer shall have.

    Raises:
        SettingError: too few for the special tokens and an alphabet, or absurdly many.
    """
    if not _SMALLEST_VOCABULARY <= size <= _LARGEST_VOCABULARY:
        raise SettingError(
            f"vocabulary is {size}; it must lie in {_SMALLEST_VOCABULARY}..{_LARGEST_VOCABULARY}"
        )
