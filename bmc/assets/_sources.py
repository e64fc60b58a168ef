"""The sources of assets, and how files are downloaded from each."""

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
    """A folder in a package on PyPI, which is downloaded and unzipped but not installed."""

    requirement: str
    folder: str

    def __str__(self) -> str:
        return f"PyPI package {self.requirement}"


@dataclass(frozen=True)
class JoinedPyPI:
    """A folder in a zip file that is split into parts, each of which is in a package on PyPI."""

    requirements: tuple[str, ...]
    part: str
    folder: str

    def __str__(self) -> str:
        return f"PyPI packages {self.requirements[0]} to {self.requirements[-1]}"


@dataclass(frozen=True)
class Debian:
    """A folder in a Debian package, which is downloaded and unpacked but not installed."""

    package: str
    folder: str

    def __str__(self) -> str:
        return f"Debian package {self.package}"


@dataclass(frozen=True)
class Npm:
    """The archive of an npm package, which is downloaded but not unpacked or installed."""

    requirement: str

    def __str__(self) -> str:
        return f"npm package {self.requirement}"


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


Source = PyPI | JoinedPyPI | Debian | Npm | Hub | Url


class SourceFailedError(Exception):
    """A source does not have the asset; `fetch` then tries the next source."""


def take(source: Source, files: Collection[str], work: Path, max_bytes: int) -> Path:
    """Download files from a source into `work`, and return the folder in `work` that holds them.

    No downloaded code runs: packages are unpacked, never built or installed.

    Args:
        source: the source.
        files: names of the files.
        work: folder for the files, and for packages that contain them.
        max_bytes: largest size of a file.

    Raises:
        SourceFailedError: the source does not have the files.
        OSError: the source cannot be reached.
    """
    if isinstance(source, PyPI):
        return _unzip(_download(source.requirement, work), source.folder, files, work, max_bytes)
    if isinstance(source, JoinedPyPI):
        return _joined(source, files, work, max_bytes)
    if isinstance(source, Debian):
        return _from_debian(source, files, work)
    if isinstance(source, Npm):
        _run(["npm", "pack", "--ignore-scripts", source.requirement], {}, work)
        return work
    base = (
        f"https://huggingface.co/{source.repository}/resolve/{source.revision}"
        if isinstance(source, Hub)
        else source.folder
    )
    for file in files:
        with urllib.request.urlopen(f"{base}/{file}", timeout=30) as reply:
            _copy(reply, work / file, max_bytes)
    return work


def _copy(stream: IO[bytes], path: Path, max_bytes: int) -> None:
    """Copy a stream to a file.

    Raises:
        SourceFailedError: the stream has more than `max_bytes`.
    """
    left = max_bytes
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        while piece := stream.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise SourceFailedError(f"{path.name} has more than {max_bytes} bytes")
            out.write(piece)


def _download(requirement: str, work: Path) -> Path:
    """Download the wheel of a package into `work`, and return its path.

    pip would build any other distribution, which runs code of the package. The options allow only
    wheels, and override the environment and pip.conf.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary=:none:", "--only-binary=:all:", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--dest", str(work), requirement]
    # pip downloads into TMPDIR first; this folder is the one that the progress bar watches.
    before = set(work.glob("*.whl"))
    overridden = dict.fromkeys(("PIP_NO_BINARY", "PIP_ONLY_BINARY", "PIP_REQUIREMENT"), "")
    _run(command, {"TMPDIR": str(work), **overridden}, work)
    wheels = sorted(set(work.glob("*.whl")) - before)
    if not wheels:
        raise SourceFailedError("pip downloaded no wheel")
    return wheels[0]


def _joined(source: JoinedPyPI, files: Collection[str], work: Path, max_bytes: int) -> Path:
    """Join the parts of a zip file, and extract the asset's files."""
    joined = work / "joined.zip"
    with joined.open("wb") as out:
        for requirement in source.requirements:
            wheel = _download(requirement, work)
            with zipfile.ZipFile(wheel) as packed:
                parts = [name for name in packed.namelist() if source.part in name]
                if len(parts) != 1:
                    raise SourceFailedError(f"{wheel.name} has no single part {source.part}*")
                with packed.open(parts[0]) as part:
                    shutil.copyfileobj(part, out)
            wheel.unlink()
    return _unzip(joined, source.folder, files, work, max_bytes)


def _from_debian(source: Debian, files: Collection[str], work: Path) -> Path:
    """Download a package with apt and unpack it with dpkg-deb, into `work`."""
    installed = Path("/") / source.folder
    if all((installed / file).is_file() for file in files):
        for file in files:
            (work / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(installed / file, work / file)
        return work
    _run(["apt-get", "download", source.package], {}, work)
    packages = list(work.glob("*.deb"))
    if not packages:
        raise SourceFailedError("apt-get downloaded no package")
    # -x extracts only the files of the package, not the maintainer's scripts.
    _run(["dpkg-deb", "-x", str(packages[0]), str(work / "unpacked")], {}, work)
    folder = work / "unpacked" / source.folder
    for file in files:
        if not (folder / file).resolve().is_relative_to(work.resolve()):
            raise SourceFailedError(f"{file} is a link out of the package")
    return folder


def _run(command: list[str], extra: Mapping[str, str], work: Path) -> None:
    try:
        process = subprocess.run(
            command,
            env={**os.environ, **extra},
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SourceFailedError(f"{command[0]} is not installed") from error
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        errors = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines
        raise SourceFailedError(
            errors[-1] if errors else f"{command[0]} ended with exit code {process.returncode}"
        )


def _unzip(archive: Path, folder: str, files: Collection[str], work: Path, max_bytes: int) -> Path:
    """Extract only the asset's files from a zip file."""
    if not zipfile.is_zipfile(archive):
        raise SourceFailedError(f"{archive.name} is not a zip file")
    with zipfile.ZipFile(archive) as packed:
        for file in files:
            member = f"{folder}/{file}"
            if member not in packed.namelist():
                raise SourceFailedError(f"{archive.name} has no {member}")
            with packed.open(member) as stream:
                _copy(stream, work / file, max_bytes)
    return work
