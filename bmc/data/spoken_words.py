"""Spoken words: the ten digits, star and pound, and a class of other words, in 59 voices.

The clips are synthesized here, once, by espeak-ng; voices of the test part are in no other part.
Another processor, or another release of numpy or soxr, may make other clips: a note says so, and
their fingerprint differs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from bmc import assets, console, files
from bmc.contracts import DataSet
from bmc.data import Table
from bmc.data._spoken_clips import REST as REST
from bmc.data._spoken_clips import VOICES as VOICES
from bmc.data._spoken_clips import WORDS as WORDS
from bmc.data._spoken_clips import labels_of, parts
from bmc.errors import AssetError

_ASSET = "espeak-ng"
_RECIPE = "spoken-words-1"  # raise the number when the recipe changes
_SHA256 = {
    "train": "04c47a3d44de48af96a9a054b9e0832818501f2bf1ae331cbac08379595c99dc",
    "validation": "ec770920facbae054a5091c24a348be868a92801372171ea10a878a56f9764f5",
    "test": "bdce1b88c13f6649a3ff6efaee40dae29710a363ec2c6582208a06f4e97c0008",
}
"""sha256 of PART.npy where the scores in the documentation were measured."""
_REAL = "asterisk-sounds"
_CHILD = (
    "import sys; from pathlib import Path; from bmc.data._spoken_clips import write; "
    "write(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))"
)


def table() -> Table:
    """Read 7,000 clips for training, 1,008 for validation, and 2,016 of other voices for testing.

    The clips are made in about a minute, and kept in the cache of assets.

    Raises:
        AssetError: the library cannot be fetched, or does not run here.
    """
    folder = assets.made(_RECIPE, make)
    clips = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in parts()}
    labels = {part: labels_of(part) for part in parts()}
    rows = np.concatenate([clips["train"], clips["validation"]])
    validation = np.arange(len(rows)) >= len(clips["train"])
    return Table(
        rows,
        labels["train"] + labels["validation"],
        Table(clips["test"], labels["test"], kind="audio"),
        kind="audio",
        classes=(*WORDS, REST),
        validation=validation,
    )


def recorded() -> tuple[list[Path], list[str]]:
    """Return clips that a woman recorded for telephones, 8 kHz, and the class of each.

    Source: the sounds of Asterisk, spoken by Allison Smith, CC-BY-SA.

    Raises:
        AssetError: the clips cannot be fetched.
    """
    folder = assets.fetch(_REAL)
    names = sorted(assets.ASSETS[_REAL].files)
    words = {f"digits/{number}.wav": word for number, word in enumerate(WORDS[:10])}
    words |= {f"digits/{word}.wav": word for word in WORDS[10:]}
    return [folder / name for name in names], [words.get(name, REST) for name in names]


def make(folder: Path, share: float = 1.0) -> None:
    """Write the clips of each part to FOLDER/PART.npy, in a process of its own.

    Args:
        folder: an empty folder.
        share: share of the clips of each class to make, 0 to 1.

    Raises:
        AssetError: the library cannot be fetched, or does not run here.
    """
    library = assets.fetch(_ASSET)
    console.note("spoken-words: espeak-ng speaks 10,024 clips, which takes about a minute")
    command = [sys.executable, "-P", "-c", _CHILD, str(library), str(folder), str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise AssetError(
            f"spoken-words cannot be made: {lines[-1]:.200}; it needs 64-bit Linux on x86 and "
            "pip install 'bmc-toolkit[audio]'"
        )
    if share == 1 and (changed := changed_parts(folder)):
        console.note(
            f"spoken-words: the clips of {', '.join(changed)} are not those whose scores are "
            "documented (another processor, numpy or soxr): compare scores of this machine only"
        )


def changed_parts(folder: Path) -> list[str]:
    """Return the parts whose clips are not those whose scores are documented.

    Args:
        folder: folder with the clips of each part.
    """
    sums = {part: files.sha256(folder / f"{part}.npy") for part in _SHA256}
    return [part for part, sha256 in sums.items() if sha256 != _SHA256[part]]


DATA_SET = DataSet(
    about="10,024 clips of twelve spoken words and a class of others, by espeak-ng in 59 voices",
    table=table,
    asset=_ASSET,
)
