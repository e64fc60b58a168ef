"""A user's own images: a folder a class, DIR/CLASS/*.png, or DIR/train/CLASS and DIR/test/CLASS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bmc.data._dataset import Table
from bmc.data._folders import first_of, folders_in, visible
from bmc.data._values import characters
from bmc.data_files import check_file, reading
from bmc.errors import DataError, UnknownError
from bmc.inputs.image import check_image

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_PARTS = {"train", "test"}
_VALIDATION = {"val", "valid", "validation", "dev"}


def read(folder: str, columns: Sequence[str], label_column: str) -> Table:
    """List the images and classes of a folder, and decode each image once to find broken files.

    The rows are paths; images are read again, and resized, when a batch is collated. Hidden files
    are skipped. Hidden folders with images, and files of other kinds, are reported in a note. If
    the folder holds `train` and `test`, `test` is the official test part.

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
    names = {path.name for path in folders_in(root)}
    if names >= _PARTS:
        if extra := sorted(names - _PARTS):
            raise DataError(
                f"{folder} holds {extra[0]!r} beside train and test, which bmc would not read; "
                "move its classes into one of them"
            )
        return _part(root / "train", _part(root / "test", None))
    if names <= {"train", *_VALIDATION} and "train" in names and len(names) > 1:
        held = min(names - {"train"})
        raise DataError(
            f"{folder} holds train and {held}, and no test; rename {held} to test, so that it is "
            "held out"
        )
    return _part(root, None)


def images_in(folder: str) -> Table:
    """List the images of a folder: with its classes as `read` does, or without labels.

    Args:
        folder: DIR, with a folder for each class, or with images alone.

    Raises:
        UnknownError: there is no such folder.
        DataError: as `read`, or the folder holds no image.
        MissingError: Pillow is not installed.
    """

    root = Path(folder)
    if not root.is_dir() or folders_in(root):
        return read(folder, (), "")
    images = images_below(folder)
    if not images:
        raise DataError(f"{folder} holds no image ({', '.join(_ENDINGS)})")
    return Table(images, [], kind="image")


def images_below(folder: str) -> list[Path]:
    """Find the images in a folder and its folders; each is decoded once, as `read` does.

    Hidden files and folders, and files of other kinds, are passed over.

    Args:
        folder: DIR; the names of its folders mean nothing.

    Raises:
        UnknownError: there is no such folder.
        DataError: an image cannot be read.
        MissingError: Pillow is not installed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UnknownError(f"no folder {folder!r} with images")
    images: list[Path] = []
    pending = [root]
    while pending:
        for path in visible(pending.pop()):
            if path.is_dir() and not path.is_symlink():  # a link may lead back to its own folder
                pending.append(path)
            elif _is_image(path):
                check_file(path, "image file")
                check_image(path)
                images.append(path)
    return images


def _part(folder: Path, official_test: Table | None) -> Table:

    rows: list[Path] = []
    labels: list[str] = []
    notes: list[str] = []
    unread: Counter[str] = Counter()
    loose = [path for path in visible(folder) if _is_image(path)]
    for path in folders_in(folder):
        label = characters(path.name, f"the class folder {str(path)!r}")
        images = _images(path, notes, unread)
        rows += images
        labels += [label] * len(images)
    if not rows:
        raise DataError(f"{folder} has no class folders; images are read from {folder}/CLASS/*.png")
    for part, count in unread.items():
        notes.append(f"{count} of {len(rows)} images have {part}, which no model sees")
    if loose:
        notes.append(f"not read, since they lie in no class folder: {first_of(loose)}")
    if hidden := _hidden_images(folder):
        notes.append(f"not read, since their folder's name starts with a dot: {first_of(hidden)}")
    return Table(rows, labels, official_test, kind="image", notes=tuple(notes))


def _images(folder: Path, notes: list[str], unread: Counter[str]) -> list[Path]:
    """Return the images of a class after decoding each; note files and parts that are not read."""
    inside = visible(folder)
    images = [path for path in inside if _is_image(path)]
    others = [path for path in inside if not _is_image(path) and not path.is_dir()]
    below = [
        path for child in inside if child.is_dir() for path in visible(child) if _is_image(path)
    ]
    if not images:
        hint = "add some or remove it"
        if below:
            hint = f"but {below[0]} lies a folder deeper; if {folder} holds the classes, name it: "
            hint += f"imagefolder:{folder}"
        raise DataError(f"the class folder {folder} has no image ({', '.join(_ENDINGS)}); {hint}")
    if below:
        notes.append(f"not read, since they lie below a class folder: {first_of(below)}")
    if others:
        notes.append(f"not read, since their endings are no image's: {first_of(others)}")
    for path in images:
        check_file(path, "image file")
        unread.update(check_image(path))
    return images


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and not path.is_dir()


def _hidden_images(folder: Path) -> list[Path]:
    """Return the images of folders that look like classes with a dot before their name."""
    with reading(folder):
        hidden = sorted(path for path in folder.iterdir() if path.name.startswith("."))
    return [
        path for child in hidden if child.is_dir() for path in visible(child) if _is_image(path)
    ]
