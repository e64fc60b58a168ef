"""Files of arrays (.npz) that a stranger wrote: sizes are read and bounded before the values."""

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

MOST_BYTES = 512 << 20
"""Bytes that the arrays of a file may take, unpacked: logits of 100,000 rows and 1,000 classes."""
_MOST_ARRAYS = 64
_MOST_DIRECTORY = 64 << 10
_MOST_HEADER = 4 << 10
_MOST_AXES = 8
_DTYPES = ("float16", "float32", "float64", "bool", *(f"int{bits}" for bits in (8, 16, 32, 64)))
DTYPES = (*_DTYPES, *(f"uint{bits}" for bits in (8, 16, 32, 64)))
"""Kinds of numbers that arrays of bmc's files and tensors of its models may hold."""
_DAMAGED = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, EOFError, RuntimeError, SyntaxError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)
_END = struct.Struct("<4s4H2LH")  # of a zip file: its directory's size and place


def parse_arrays(data: bytes, path: Path, most: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file; pickled objects are refused.

    Args:
        data: the file's content.
        path: where it was read, for messages.
        most: bytes that all arrays together may take.

    Raises:
        ArtifactError: it is no such file, or its arrays would take more.
    """
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len({member.filename for member in members}) < len(members):
                raise ValueError("an array stands there twice")
            if sum(member.file_size for member in members) > most:
                raise ValueError(f"unpacked it would take more than {most:,} bytes")
            return {
                member.filename.removesuffix(".npy"): _array(archive, member) for member in members
            }
    except _DAMAGED as error:
        raise ArtifactError(f"{path} is no file of plain arrays: {error}") from error


def _check_directory(data: bytes) -> None:
    """Refuse a zip file whose directory is not small and at its end."""
    tail = data[-_END.size :]
    if len(tail) < _END.size:
        raise ValueError("it is no zip file")
    magic, disk, start, here, count, size, place, comment = _END.unpack(tail)
    if magic != b"PK\x05\x06" or comment or disk or start or here != count:
        raise ValueError("it is no zip file, or one with a comment or in parts")
    if count > _MOST_ARRAYS or size > _MOST_DIRECTORY or place + size + _END.size != len(data):
        raise ValueError(f"it holds more than {_MOST_ARRAYS} arrays, or is no plain zip file")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename!r:.60} is packed in a way that numpy does not use")
    with archive.open(member) as file:
        shape, in_columns, dtype = _header(file)
        data = file.read()
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{member.filename!r:.60} has {len(data)} bytes for shape {shape}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if in_columns else "C")
    return array.astype(dtype.newbyteorder("="))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and dtype of an array."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"an array of format {version}")
    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file, _MOST_HEADER)
    if dtype.name not in DTYPES:
        raise ValueError(f"an array of {dtype.name!r:.40}; numbers are read alone")
    if len(shape) > _MOST_AXES or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape!s:.60}")
    return shape, in_columns, dtype
