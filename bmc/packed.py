"""Packed bundles: all files of a bundle in one file NAME.bmc, a zip archive of one fixed form.

The files are stored one after another without compression, the manifest first and the others sorted
by name. Every entry has UTF-8 names, the time 1980-01-01 00:00, the mode of a plain file and no
extra field, and the archive has no comment: the same bundle gives the same bytes. bmc reads
archives of this form alone, so that no entry can overlap another, hide bytes or lie about its size.

Source: PKWARE 2022, "APPNOTE.TXT - .ZIP File Format Specification", 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bmc import disk
from bmc.errors import ArtifactError, UsageError
from bmc.files import BUNDLE_MANIFEST, inside
from bmc.untrusted import open_regular

SUFFIX = ".bmc"
_WHAT = "packed bundle"
_MAX_ENTRIES = 4097  # the files that a manifest may list, and the manifest
MAX_BYTES = 2**32 - 1
"""Bytes of an archive; its form has no fields of 64 bits."""
_MAX_DIRECTORY = 2 << 20
_CHUNK = 1 << 20
_UTF8, _DATE, _VERSION = 0x800, 33, 20  # 1980-01-01; version 2.0 of the format
_MADE_BY = 3 << 8 | _VERSION  # Unix, whose modes the attributes hold
_ATTRIBUTES = 0o100644 << 16
_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_CENTRAL_HEADER = struct.Struct("<4s6H3L5H2L")
_END_RECORD = struct.Struct("<4s4H2LH")


@dataclass(frozen=True)
class Entry:
    """A file in an archive.

    Args:
        offset: position of its first byte in the archive.
        size: number of its bytes.
    """

    offset: int
    size: int


@dataclass(frozen=True)
class Archive:
    """A packed bundle; several threads and forked children may read it at the same time.

    Args:
        path: path of the archive.
        entries: files by name, in the order of the archive.
    """

    path: Path
    entries: Mapping[str, Entry]

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file, up to 1 MiB at a time.

        Raises:
            ArtifactError: there is no such file, or the archive was cut.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise ArtifactError(f"{_WHAT} {self.path} lacks its file {name!r:.80}; pack it again")
        remaining = entry.size
        with open_regular(self.path, _WHAT, links=True) as file:
            file.seek(entry.offset)
            while remaining:
                chunk = file.read(min(remaining, _CHUNK))
                if not chunk:
                    raise ArtifactError(f"{_WHAT} {self.path} was cut while it was read")
                remaining -= len(chunk)
                yield chunk

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a file.

        Args:
            name: name of the file.
            max_bytes: largest size of the file.

        Raises:
            ArtifactError: there is no such file, it is larger, or the archive was cut.
        """
        if name in self.entries and self.entries[name].size > max_bytes:
            raise ArtifactError(
                f"{_WHAT} {self.path}: {name!r:.80} has {self.entries[name].size:,} bytes; at most "
                f"{max_bytes:,} are read"
            )
        return b"".join(self.chunks(name))

    def size_of(self, name: str) -> int:
        """Return the bytes of a file, or of all files below a folder."""
        return sum(
            entry.size
            for file, entry in self.entries.items()
            if file == name or file.startswith(f"{name}/")
        )

    def check(self, hashes: Mapping[str, str], sizes: Mapping[str, int] | None) -> None:
        """Check that the archive holds the listed files and no others, with the recorded sha256.

        Args:
            hashes: expected sha256 of each file but the manifest, by name.
            sizes: expected bytes of each file, by name; None in older bundles.

        Raises:
            ArtifactError: a file is missing, is not listed, or has another content.
        """
        for name in self.entries:
            if name not in hashes and name != BUNDLE_MANIFEST:
                raise ArtifactError(
                    f"{_WHAT} {self.path} holds {name!r:.80}, which its manifest does not list; "
                    "refused"
                )
        for name, expected in hashes.items():
            digest, size = hashlib.sha256(), 0
            for chunk in self.chunks(name):
                digest.update(chunk)
                size += len(chunk)
            if digest.hexdigest() != expected or (sizes is not None and sizes[name] != size):
                raise ArtifactError(
                    f"{_WHAT} {self.path}: {name!r:.80} was changed (sha256 "
                    f"{digest.hexdigest()[:16]}..., recorded {expected[:16]}...); pack it again"
                )


def ordered(names: Iterable[str]) -> list[str]:
    """Return the names of files in the order of an archive: the manifest, then by name."""
    return sorted(names, key=lambda name: (name != BUNDLE_MANIFEST, name))


def is_packed(path: Path) -> bool:
    """Tell whether a path is that of a packed bundle: a file whose name ends in .bmc."""
    try:
        return path.suffix == SUFFIX and path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def open_archive(path: Path) -> Archive:
    """Read the directory of a packed bundle.

    Raises:
        ArtifactError: the file does not have the form that `write` gives it, or names a path
            outside a folder.
    """
    with open_regular(path, _WHAT, links=True) as file:
        try:
            entries = _entries(file, os.fstat(file.fileno()).st_size)
        except (ValueError, struct.error, UnicodeDecodeError) as error:
            raise ArtifactError(
                f"{path} is not a {_WHAT} that bmc pack wrote ({error}); pack the bundle again, or "
                "unzip it and load the folder"
            ) from error
    for name in entries:
        _check_name(path, name, entries)
    return Archive(path, entries)


def write(path: Path, folder: Path, names: Iterable[str]) -> None:
    """Write files of a folder as an archive.

    Args:
        path: path of the archive; it is replaced.
        folder: folder of the files.
        names: names of the files.

    Raises:
        UsageError: the files take 4 GiB or more.
    """
    directory: list[bytes] = []
    with disk.opened(path) as file:
        for name in ordered(names):
            offset, encoded = file.tell(), name.encode()
            file.write(_local_header(encoded, 0, 0))
            checksum, size = _copy(folder / name, file)
            end = file.tell()
            if end + _MAX_DIRECTORY > MAX_BYTES:
                raise UsageError(
                    f"{folder} has more than 4 GiB, which a {SUFFIX} file does not hold; copy the "
                    "folder itself"
                )
            file.seek(offset)
            file.write(_local_header(encoded, checksum, size))
            file.seek(end)
            directory.append(_central_header(encoded, checksum, size, offset))
        start = file.tell()
        file.write(b"".join(directory))
        size = file.tell() - start
        count = len(directory)
        file.write(_END_RECORD.pack(_END, 0, 0, count, count, size, start, 0))


def unpack(archive: Archive, folder: Path) -> None:
    """Write the files of an archive into an empty folder.

    Args:
        archive: the archive, whose names `open_archive` has checked.
        folder: the folder, which exists.

    Raises:
        ArtifactError: the archive was cut while it was read.
    """
    for name in archive.entries:
        path = folder / name
        disk.make_folders(path.parent)
        try:
            disk.create(path)
        except FileExistsError as error:
            raise ArtifactError(
                f"{_WHAT} {archive.path}: this disk holds one file for {name!r:.80} and another "
                "name, which differ in case; unpack it on a disk that tells case apart"
            ) from error
        with disk.opened(path) as file:
            for chunk in archive.chunks(name):
                file.write(chunk)


def _copy(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Append a file's content to another file; return its CRC-32 and its size."""
    checksum = size = 0
    with open_regular(path, "bundle") as source:
        while chunk := source.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
            size += len(chunk)
            file.write(chunk)
    return checksum, size


def _local_header(name: bytes, checksum: int, size: int) -> bytes:
    fields = (_VERSION, _UTF8, 0, 0, _DATE, checksum, size, size, len(name), 0)
    return _LOCAL_HEADER.pack(_LOCAL, *fields) + name


def _central_header(name: bytes, checksum: int, size: int, offset: int) -> bytes:
    fields = (_MADE_BY, _VERSION, _UTF8, 0, 0, _DATE, checksum, size, size, len(name))
    return _CENTRAL_HEADER.pack(_CENTRAL, *fields, 0, 0, 0, 0, _ATTRIBUTES, offset) + name


def _entries(file: BinaryIO, total: int) -> dict[str, Entry]:
    """Return the files of an archive by name.

    Args:
        file: the archive.
        total: its number of bytes.

    Raises:
        ValueError: the archive has another form.
    """
    start, count, directory = _directory(file, total)
    entries: dict[str, Entry] = {}
    position = offset = 0
    for _ in range(count):
        fields = _CENTRAL_HEADER.unpack_from(directory, position)
        checksum, size, length = fields[7], fields[8], fields[10]
        begin, position = position, position + _CENTRAL_HEADER.size + length
        name = directory[position - length : position]
        if directory[begin:position] != _central_header(name, checksum, size, offset):
            raise ValueError(
                f"the entry {name[:60]!r} is not that of a plain file, stored as it is"
            )
        header = _local_header(name, checksum, size)
        file.seek(offset)
        if file.read(len(header)) != header:
            raise ValueError(f"the header of {name[:60]!r} is not that of the directory")
        text = name.decode()
        if text in entries:
            raise ValueError(f"{text!r:.60} is there twice")
        entries[text] = Entry(offset + len(header), size)
        offset += len(header) + size
        if offset > start:
            raise ValueError(f"{text!r:.60} reaches into the directory")
    if offset != start or position != len(directory):
        raise ValueError("it has bytes between its files")
    if list(entries) != ordered(entries):
        raise ValueError(f"its files are not in the order {BUNDLE_MANIFEST}, then by name")
    return entries


def _directory(file: BinaryIO, total: int) -> tuple[int, int, bytes]:
    """Return the offset of an archive's directory, its number of entries, and its bytes."""
    if total < _END_RECORD.size:
        raise ValueError("it is no zip file")
    file.seek(total - _END_RECORD.size)
    end = _END_RECORD.unpack(file.read(_END_RECORD.size))
    _, _, _, _, count, size, start, _ = end
    if end != (_END, 0, 0, count, count, size, start, 0):
        raise ValueError("it is no zip file, or has a comment")
    if start + size + _END_RECORD.size != total or size > _MAX_DIRECTORY:
        raise ValueError("its directory is not at its end, or too large")
    if not 0 < count <= _MAX_ENTRIES:
        raise ValueError(f"it has {count} files")
    file.seek(start)
    return start, count, file.read(size)


def _check_name(path: Path, name: str, entries: Mapping[str, Entry]) -> None:
    """Refuse a name that is not that of a file below a folder.

    Raises:
        ArtifactError: the name is refused.
    """
    inside(path, name, _WHAT)
    pure = PurePosixPath(name)
    folders = {parent.as_posix() for parent in pure.parents}
    if name in (".", "") or pure.as_posix() != name or not folders.isdisjoint(entries):
        raise ArtifactError(f"{_WHAT} {path} names {name!r:.80}, not a valid file name; refused")
