"""Sizes of networks trained from scratch, checked before anything so large is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RANGES: Mapping[str, tuple[int, int]] = {
    "layers": (1, 256),
    "hidden": (1, 16_384),
    "heads": (1, 1_024),
    "feed_forward": (1, 131_072),
    "vocabulary": (1, 4_000_000),
    "embedding": (1, 16_384),
    "buckets": (1, 2**24),
    "channels": (1, 65_536),
    "columns": (1, 2),
    "max_length": (1, 8_192),
    "outputs": (1, 100_000),
}


def check_sizes(spec: Mapping[str, Any]) -> None:
    """Check the sizes that a spec names.

    Raises:
        ValueError: one is no whole number in range, or hidden does not divide by the heads.
    """
    for key, (least, most) in _RANGES.items():
        value = spec.get(key, least)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{key} is {value!r:.60}; it must be a whole number, {least}..{most}")
    if spec.get("hidden", 0) % spec.get("heads", 1):
        raise ValueError(f"hidden {spec['hidden']} does not divide by {spec['heads']} heads")
