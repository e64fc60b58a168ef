"""Check the sizes of networks trained from scratch, before and while a network is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bmc.errors import ArtifactError

_RANGES: Mapping[str, tuple[int, int]] = {
    "layers": (1, 256),
    "hidden": (1, 16_384),
    "heads": (1, 1_024),
    "feed_forward": (1, 131_072),
    "vocabulary": (1, 4_000_000),
    "embedding": (1, 16_384),
    "buckets": (1, 2**24),
    "ngram_buckets": (1, 2**24),
    "ngram_width": (1, 1_024),
    "channels": (1, 65_536),
    "columns": (1, 2),
    "max_length": (1, 8_192),
    "outputs": (1, 100_000),
}


@contextmanager
def sizes_checked(spec: Mapping[str, Any]) -> Iterator[None]:
    """Check the sizes in a spec, and refuse the spec if the network cannot be built in the block.

    Args:
        spec: a model's config.json.

    Raises:
        ArtifactError: the spec is malformed or inconsistent.
    """
    try:
        check_sizes(spec)
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"the model's config.json does not fit together ({type(error).__name__}: {error})"
        ) from error


def check_sizes(spec: Mapping[str, Any]) -> None:
    """Check the sizes in a spec.

    Raises:
        ValueError: a size is not an integer in its range, or hidden is not divisible by heads.
    """
    for key, (least, most) in _RANGES.items():
        value = spec.get(key, least)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{key} is {value!r:.60}; it must be a whole number, {least}..{most}")
    if spec.get("hidden", 0) % spec.get("heads", 1):
        raise ValueError(f"hidden {spec['hidden']} is not divisible by {spec['heads']} heads")
