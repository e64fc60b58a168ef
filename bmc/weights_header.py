"""The header of a .safetensors file: names, shapes and number formats, read before any value."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc.errors import ArtifactError
from bmc.untrusted import MAX_JSON, open_regular, parse_json

MAX_TENSORS = 100_000
_MOST_AXES = 8
_BITS = {
    **{"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16},
    **{"I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8},
}


@dataclass(frozen=True)
class Header:
    """What a weights' file says of itself before its values.

    Args:
        shapes: of each tensor, by name.
        dtypes: likewise, as safetensors writes them, such as "F32".
        size: bytes of the file.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    size: int


def read_header(path: Path, what: str, links: bool = False) -> Header:
    """Read the header of a .safetensors file; its tensors must fill the file exactly.

    Whoever maps the file into memory afterwards maps no more than it says.

    Args:
        path: the file.
        what: what it belongs to, for messages.
        links: whether it may be a link, as in the Hugging Face hub's cache.

    Raises:
        ArtifactError: it is no such file, or it is cut short or too long.
    """
    with open_regular(path, what, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_JSON):
            raise _no_weights(path, f"its header would have {length:,} bytes")
        content = parse_json(file.read(length), path)
    content.pop("__metadata__", None)
    if len(content) > MAX_TENSORS:
        raise _no_weights(path, f"it names {len(content):,} tensors")
    room = size - 8 - length
    tensors = {name: _tensor(path, name, entry, room) for name, entry in content.items()}
    end = max((end for _, _, end in tensors.values()), default=0)
    if end != room:
        raise _no_weights(path, f"{room - end:,} bytes behind its tensors belong to none")
    return Header(
        {name: shape for name, (shape, _, _) in tensors.items()},
        {name: dtype for name, (_, dtype, _) in tensors.items()},
        size,
    )


def _tensor(path: Path, name: str, entry: Any, room: int) -> tuple[tuple[int, ...], str, int]:
    """Return a tensor's shape, its number format and where it ends, if it lies inside the file."""
    entry = entry if isinstance(entry, dict) else {}
    shape, offsets, dtype = (entry.get(key) for key in ("shape", "data_offsets", "dtype"))
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    whole = all(
        isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
        for values in (shape, offsets)
    )
    if bits is None or not whole or shape is None or offsets is None or len(offsets) != 2:
        raise _no_weights(path, f"tensor {name!r:.60} is malformed")
    start, end = offsets
    if len(shape) > _MOST_AXES or end - start != math.prod(shape) * bits // 8 or end > room:
        raise _no_weights(path, f"tensor {name!r:.60} does not lie inside it")
    return tuple(shape), str(dtype), end


def _no_weights(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path} is damaged or no safetensors file: {why}")
