"""Arrays of an .npz file, whose sizes are checked before anything is allocated."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bmc.data_files import check_file, check_unpacked
from bmc.errors import DataError

Arrays = Mapping[str, NDArray[Any]]
_LONGEST_HEADER = 10_000


def read_arrays(path: Path, allowed: Sequence[str]) -> Arrays:
    """Read the arrays of an .npz file; pickled objects are never loaded.

    Args:
        path: the file.
        allowed: the names that it may hold.

    Raises:
        DataError: it is none, holds other arrays, is damaged, or unpacks to more than its size
            explains or the memory holds.
    """
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename.removesuffix(".npy") for member in members]
            _check_names(path, names, allowed)
            _check_size(path, sum(_bytes(archive, member, path) for member in members))
            return {
                name: _array(archive, member) for name, member in zip(names, members, strict=True)
            }
    except (
        *(ValueError, EOFError, AttributeError, SyntaxError, RecursionError, KeyError, TypeError),
        *(OSError, RuntimeError, OverflowError, zipfile.BadZipFile, zlib.error),
    ) as error:  # what zipfile and numpy raise on a damaged or an encrypted file
        raise DataError(f"{path} is not readable as npz: {error}") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory: {error}") from error


def _check_names(path: Path, names: Sequence[str], allowed: Sequence[str]) -> None:
    listed = f"{', '.join(name for name in allowed if not name.startswith('test_'))}, and test_..."
    for name, count in Counter(names).items():
        if name not in allowed:
            raise DataError(f"{path} has an array {name!r:.60}; bmc reads {listed}")
        if count > 1:
            raise DataError(f"{path} has two arrays {name!r}; save it again")


def _bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> int:
    """Return how many bytes an array takes, by its header."""
    shape, dtype = _header(archive, member)
    if dtype.hasobject:
        raise DataError(
            f"{path}: {member.filename} holds Python objects, which may run code; save text as "
            "np.array(labels, dtype=str), and rows of one length as numbers"
        )
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= size <= member.file_size:
        raise DataError(
            f"{path} is not readable as npz: {member.filename} says it has {size} bytes and holds "
            f"{member.file_size}"
        )
    return size


def _header(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file, max_header_size=_LONGEST_HEADER)
    if any(size < 0 for size in shape):
        raise ValueError(f"{member.filename} has the shape {shape}")
    return shape, dtype


def _check_size(path: Path, unpacked: int) -> None:
    check_unpacked(path, unpacked, "save honest arrays unpacked, with np.savez")
    memory = _memory()
    if unpacked > memory:
        raise DataError(
            f"{path} does not fit into memory: its arrays take {unpacked / 1e9:.3g} GB of "
            f"{memory / 1e9:.3g} GB; use fewer rows, or a folder of images (imagefolder:DIR)"
        )


def _memory() -> float:
    """Return the machine's memory in bytes, infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        array: NDArray[Any] = npy.read_array(
            file, allow_pickle=False, max_header_size=_LONGEST_HEADER
        )
    return array
