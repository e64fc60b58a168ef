"""A user's own images: a folder a class, DIR/CLASS/*.png, or DIR/train/CLASS and DIR/test/CLASS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmc import console
from bmc.errors import DataError, UnknownError
from bmc.inputs.image import check_image

if TYPE_CHECKING:
    from bmc.data import Table

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_PARTS = {"train", "test"}


def read(folder: str, columns: Sequence[str], label_column: str) -> Table:
    """Find the images of a folder; each is decoded once here, so that a broken one is named now.

    The rows are paths: images are read again when they are collated, resized to one size. Other
    files and hidden ones are passed over. Where the folder holds `train` and `test`, the latter is
    the official test part.

    Args:
        folder: DIR; a class is named like its folder.
        columns: not used.
        label_column: not used.

    Raises:
        UnknownError: there is no such folder.
        DataError: a class has no image, an image cannot be read, or there are no classes.
        MissingError: Pillow is not installed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UnknownError(f"no folder {folder!r} with images")
    names = {path.name for path in _folders(root)}
    if not names >= _PARTS:
        return _part(root, None)
    if extra := sorted(names - _PARTS):
        raise DataError(
            f"{folder} holds {extra[0]!r} beside train and test, which bmc would not read; "
            "move its classes into one of them"
        )
    return _part(root / "train", _part(root / "test", None))


def _part(folder: Path, official_test: Table | None) -> Table:
    from bmc.data import Table  # noqa: PLC0415  this file is a part of that package

    rows: list[Path] = []
    labels: list[str] = []
    unread: Counter[str] = Counter()
    for name in _folders(folder):
        images = [path for path in _visible(name) if path.suffix.lower() in _ENDINGS]
        if not images:
            raise DataError(
                f"the class folder {name} has no image ({', '.join(_ENDINGS)}); "
                "add some or remove it"
            )
        unread.update(part for path in images for part in check_image(path))
        rows += images
        labels += [name.name] * len(images)
    if not rows:
        raise DataError(f"{folder} has no class folders; images are read from {folder}/CLASS/*.png")
    for part, count in unread.items():
        console.note(f"{folder}: {count} of {len(rows)} images have {part}, which no model sees")
    return Table(rows, labels, official_test, kind="image")


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
