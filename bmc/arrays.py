"""Read untrusted .npz files of arrays: sizes are checked before any values are read."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError

MAX_BYTES = 512 << 20
"""Largest number of bytes of all arrays of a file together, unpacked; logits of 100,000 rows and
1,000 classes take 400 MB."""
MAX_ARRAYS = 64
"""Largest number of arrays of a file."""
_MAX_DIRECTORY_BYTES = 64 << 10
_MAX_HEADER_BYTES = 4 << 10
_MAX_AXES = 8
_SIGNED_DTYPES = (
    "float16",
    "float32",
    "float64",
    "bool",
    *(f"int{bits}" for bits in (8, 16, 32, 64)),
)
DTYPES = (*_SIGNED_DTYPES, *(f"uint{bits}" for bits in (8, 16, 32, 64)))
"""Dtypes that bmc's files of arrays, and the tensors in a bundle's manifest, may have."""
_DAMAGE_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, EOFError, RuntimeError, SyntaxError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)
# The last record of a zip file: the number of entries, and the size and offset of the directory.
_END = struct.Struct("<4s4H2LH")


def parse_arrays(data: bytes, path: Path, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file, by name; pickled objects are refused.

    Args:
        data: content of the file.
        path: path of the file, for messages.
        max_bytes: largest number of bytes of all arrays together, unpacked.

    Raises:
        ArtifactError: the file is not a plain .npz file, or its arrays take more bytes.
    """
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len({member.filename for member in members}) < len(members):
                raise ValueError("two arrays have the same name")
            if sum(member.file_size for member in members) > max_bytes:
                raise ValueError(f"unpacked it would take more than {max_bytes:,} bytes")
            return {
                member.filename.removesuffix(".npy"): _array(archive, member) for member in members
            }
    except _DAMAGE_ERRORS as error:
        raise ArtifactError(f"{path} is not a file of plain arrays: {error}") from error


def _check_directory(data: bytes) -> None:
    """Check that a zip file is in one part, and that its directory is small and at the end."""
    tail = data[-_END.size :]
    if len(tail) < _END.size:
        raise ValueError("it is not a zip file")
    magic, disk, directory_disk, entries_here, entries, size, offset, comment = _END.unpack(tail)
    if magic != b"PK\x05\x06" or comment or disk or directory_disk or entries_here != entries:
        raise ValueError("it is not a zip file, has a comment, or is split into parts")
    is_at_end = offset + size + _END.size == len(data)
    if entries > MAX_ARRAYS or size > _MAX_DIRECTORY_BYTES or not is_at_end:
        raise ValueError(f"it holds more than {MAX_ARRAYS} arrays, or is not a plain zip file")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename!r:.60} has a compression that numpy does not write")
    with archive.open(member) as file:
        shape, is_fortran, dtype = _header(file)
        data = file.read()
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{member.filename!r:.60} has {len(data)} bytes for shape {shape}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape of an array, whether it is in Fortran order, and its dtype."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"an array of format {version}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file, _MAX_HEADER_BYTES)
    if dtype.name not in DTYPES:
        raise ValueError(f"an array of {dtype.name!r:.40}; only arrays of numbers are read")
    if len(shape) > _MAX_AXES or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape!s:.60}")
    return shape, is_fortran, dtype
