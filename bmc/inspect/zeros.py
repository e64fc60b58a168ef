"""The share of zeros among a model's weights, and the size of a compressed file."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

from torch import Tensor, nn

_BLOCK = 1 << 20  # bytes
_ZLIB_LEVEL = 9
COMPRESSION = "zstd, level 3" if sys.version_info >= (3, 14) else f"zlib, level {_ZLIB_LEVEL}"


def share_of_zeros(module: nn.Module) -> float:
    """Return the share of zeros in a model's weights with two axes or more, shared ones once.

    Of a weight that is computed (from a codebook, for example), the computed values are counted.
    """
    weights: dict[int, Tensor] = {}
    for layer in module.modules():
        names = {name for name, _ in layer.named_parameters(recurse=False) if "weight" in name}
        for name in names | {"weight"}:
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and value.ndim > 1:
                weights[id(value)] = value.detach()
    zeros = sum(weight.numel() - int(weight.count_nonzero()) for weight in weights.values())
    return zeros / max(sum(weight.numel() for weight in weights.values()), 1)


def compressed_size(path: Path) -> int:
    """Return the size of a file in bytes after `COMPRESSION`: zstd if Python has it, else zlib."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415  new in 3.14

        compressor = zstd.ZstdCompressor(level=3)
    else:
        compressor = zlib.compressobj(_ZLIB_LEVEL)
    with path.open("rb") as file:
        size = sum(
            len(compressor.compress(block)) for block in iter(lambda: file.read(_BLOCK), b"")
        )
    return size + len(compressor.flush())
