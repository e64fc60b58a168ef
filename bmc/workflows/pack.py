"""Pack a bundle into one file, and unpack it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bmc import bundle as bundles
from bmc import packed, workspace, writing
from bmc.errors import UnknownError, UsageError
from bmc.files import sha256
from bmc.workflows.options import PackedOutput, UnpackedOutput
from bmc.writing import new_folder


@dataclass(frozen=True)
class PackedBundle:
    """A bundle that was packed.

    Args:
        path: the .bmc file.
        bundle: the bundle's folder.
        bytes: size of the file.
        sha256: sha256 of the file, which is the same for the same bundle.
    """

    path: Path
    bundle: Path
    bytes: int
    sha256: str


@dataclass(frozen=True)
class UnpackedBundle:
    """A packed bundle that was unpacked.

    Args:
        path: the bundle's folder.
        packed: the .bmc file.
        files: number of files in the folder.
    """

    path: Path
    packed: Path
    files: int


def pack(
    reference: str | None = None,
    options: PackedOutput = PackedOutput(),
) -> PackedBundle:
    """Write a bundle's listed files into one file; the same bundle gives the same bytes.

    Args:
        reference: a bundle's folder, or its name in the workspace; the newest when None.
        options: the file, and whether it may replace another.

    Raises:
        UnknownError: there is no such bundle.
        ArtifactError: the bundle is damaged.
        UsageError: the file exists, its name does not end in .bmc, or the bundle has 4 GiB or more.
        StorageError: the disk is full, or the folder cannot be written.
    """
    folder = workspace.find(reference, "bundle")
    output = options.output or _beside(folder)
    _check_output(output, options.force)
    bundle = bundles.read(folder)
    with writing.replacing(output) as temporary:
        packed.write(temporary, folder, (bundles.MANIFEST, *bundle.files))
        # A file that another process changed meanwhile is found here.
        packed.open_archive(temporary).check(bundle.files, None)
    return PackedBundle(output, folder, output.stat().st_size, sha256(output))


def unpack(
    reference: str,
    options: UnpackedOutput = UnpackedOutput(),
) -> UnpackedBundle:
    """Write the folder of a packed bundle, after all its files were checked.

    Args:
        reference: a .bmc file, or its name in the workspace.
        options: the folder, and whether it may replace another.

    Raises:
        UnknownError: there is no such file.
        ArtifactError: the file is not a packed bundle, or is damaged.
        UsageError: the folder exists, and `options.force` is off.
        StorageError: the disk is full, or the folder cannot be written.
    """
    path = _find(reference)
    output = options.output or workspace.root() / path.name.removesuffix(packed.SUFFIX)
    writing.refuse_existing(output, options.force)
    archive = bundles.read(path).archive
    if archive is None:
        raise UnknownError(f"{path} is not a packed bundle; bmc pack BUNDLE writes one")
    with new_folder(output, options.force) as folder:
        packed.unpack(archive, folder)
        bundles.read(folder)
    return UnpackedBundle(output, path, len(archive.entries))


def _beside(folder: Path) -> Path:
    """Return the path of a packed bundle next to the bundle's folder, which may be "." or ".."."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}{packed.SUFFIX}")


def _check_output(output: Path, force: bool) -> None:
    """Check, before the bundle is read, that a packed bundle can be written.

    Raises:
        UsageError: the name has another suffix, is that of a folder, or is taken.
    """
    if output.suffix != packed.SUFFIX:
        raise UsageError(f"{output} is no name of a packed bundle: it must end in {packed.SUFFIX}")
    if output.is_dir():
        raise UsageError(f"{output} is a folder; --output names a file")
    if output.exists() and not force:
        raise UsageError(f"{output} exists; --force replaces it, --output names another place")


def _find(reference: str) -> Path:
    """Find a packed bundle by path, or by its name in the workspace.

    Raises:
        UnknownError: there is none.
    """
    for path in workspace.candidates(reference):
        for candidate in (path, path.with_name(f"{path.name}{packed.SUFFIX}")):
            if packed.is_packed(candidate):
                return candidate
        if workspace.kind_of(path) == "bundle":
            raise UnknownError(f"{path} is a bundle's folder already; bmc pack {path} packs it")
    raise UnknownError(
        f"no packed bundle {reference!r}: name a {packed.SUFFIX} file that bmc pack wrote"
    )
