"""What zeros are worth: their share of a model's weights, and its file's size when compressed."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

from torch import Tensor, nn

_BLOCK = 1 << 20
_LEVEL = 9
COMPRESSION = "zstd, level 3" if sys.version_info >= (3, 14) else f"zlib, level {_LEVEL}"


def share_of_zeros(module: nn.Module) -> float:
    """Return the share of zeros in a model's matrices, filters and tables; shared ones count once.

    A weight that is computed (from a codebook, say) counts as what it is computed to.
    """
    counted: dict[int, Tensor] = {}
    for layer in module.modules():
        own = {name for name, _ in layer.named_parameters(recurse=False) if "weight" in name}
        for name in own | {"weight"}:
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and value.ndim > 1:
                counted[id(value)] = value.detach()
    zeros = sum(value.numel() - int(value.count_nonzero()) for value in counted.values())
    return zeros / max(sum(value.numel() for value in counted.values()), 1)


def compressed_size(path: Path) -> int:
    """Return the bytes of a file under `COMPRESSION`: zstd where Python has it, else zlib."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415  new in 3.14

        squeezing = zstd.ZstdCompressor(level=3)
    else:
        squeezing = zlib.compressobj(_LEVEL)
    with path.open("rb") as file:
        size = sum(len(squeezing.compress(block)) for block in iter(lambda: file.read(_BLOCK), b""))
    return size + len(squeezing.flush())
