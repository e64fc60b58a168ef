"""Read the header of a .safetensors file: the names, shapes and dtypes of its tensors."""

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
_MAX_AXES = 8
_BITS = {
    **{"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16},
    **{"I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8},
}


@dataclass(frozen=True)
class Header:
    """The header of a weights file.

    Args:
        shapes: shape of each tensor, by name.
        dtypes: dtype of each tensor, by name, as safetensors writes it, such as "F32".
        size: size of the file in bytes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    size: int


def read_header(path: Path, what: str, links: bool = False) -> Header:
    """Read the header of a .safetensors file, and check that its tensors fill the file exactly.

    Args:
        path: path of the file.
        what: the model directory that the file belongs to, for messages.
        links: accept a link, as in the cache of the Hugging Face hub.

    Raises:
        ArtifactError: the file is not a safetensors file, or is longer or shorter than its header
            says.
    """
    with open_regular(path, what, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_JSON):
            raise _damaged(path, f"its header would have {length:,} bytes")
        content = parse_json(file.read(length), path)
    content.pop("__metadata__", None)
    if len(content) > MAX_TENSORS:
        raise _damaged(path, f"it names {len(content):,} tensors")
    data_bytes = size - 8 - length
    tensors = {name: _tensor(path, name, entry, data_bytes) for name, entry in content.items()}
    end = max((end for _, _, end in tensors.values()), default=0)
    if end != data_bytes:
        raise _damaged(path, f"the last {data_bytes - end:,} bytes belong to no tensor")
    return Header(
        {name: shape for name, (shape, _, _) in tensors.items()},
        {name: dtype for name, (_, dtype, _) in tensors.items()},
        size,
    )


def _tensor(path: Path, name: str, entry: Any, data_bytes: int) -> tuple[tuple[int, ...], str, int]:
    """Return the shape, the dtype and the end offset of a tensor, and check its header entry."""
    entry = entry if isinstance(entry, dict) else {}
    shape, offsets, dtype = (entry.get(key) for key in ("shape", "data_offsets", "dtype"))
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    are_integers = all(
        isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
        for values in (shape, offsets)
    )
    if bits is None or not are_integers or shape is None or offsets is None or len(offsets) != 2:
        raise _damaged(path, f"tensor {name!r:.60} is malformed")
    start, end = offsets
    if len(shape) > _MAX_AXES or end - start != math.prod(shape) * bits // 8 or end > data_bytes:
        raise _damaged(path, f"tensor {name!r:.60} does not fit in the file")
    return tuple(shape), str(dtype), end


def _damaged(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{path} is damaged or not a safetensors file: {reason}")
