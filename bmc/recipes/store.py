"""The results of steps by their key, in a folder of the workspace or in a shared location.

KEY/NAME      the model directory or bundle; NAME is the step's name
KEY/step.json the seal, written last: which step it was, and the sha256 of every file

Without a seal, a folder is what a killed command left: the next run of the step resumes there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bmc import disk, locks, workspace, writing
from bmc.checksums import checked_path
from bmc.errors import ArtifactError, UnknownError
from bmc.recipes.content import Hashes
from bmc.recipes.seals import ChangedResultError as ChangedResultError
from bmc.recipes.seals import Seal as Seal
from bmc.recipes.seals import as_json, read_seal
from bmc.untrusted import parse_json, read_json
from bmc.writing import sweep

if TYPE_CHECKING:
    from bmc.recipes.shared_files import SharedFiles

SEAL = "step.json"
FOLDER = ".steps"
_WHAT = "result of a step"
_SHOWN = 12  # characters of a key in messages


class StepStore:
    """Results of steps by their key.

    Args:
        location: a folder, or a URL such as s3://bucket/steps, from which results are copied into
            the workspace and to which new ones are copied; "" is the folder .steps of the
            workspace.
        local: folder for results on this machine; for a URL alone. The default is the folder
            .steps of the workspace.

    Raises:
        MissingError: the location is a URL, and fsspec is not installed.

    Example:
        >>> store = StepStore()
        >>> store.has("0" * 64)
        False
    """

    def __init__(self, location: str = "", local: Path | None = None) -> None:
        self.location = location
        self._shared: SharedFiles | None = None
        usual = local or workspace.root() / FOLDER
        if "://" in location:
            from bmc.recipes.shared_files import SharedFiles  # noqa: PLC0415  optional fsspec

            self._shared = SharedFiles(location)
        elif location:
            usual = Path(location)
        self.root = usual.absolute()
        self.hashes = Hashes(self.root / ".hashes.json")

    def has(self, key: str) -> bool:
        """Tell whether there is a result, and check that it is the one that was written.

        Raises:
            ChangedResultError: a file of the result was changed or removed.
        """
        seal = self.seal(key)
        if seal is not None:
            self._check(seal)
            with suppress(OSError):  # a folder that may only be read
                os.utime(self.root / key / SEAL)  # when it was last used, for `bmc recipe clean`
            return True
        return self._shared_seal(key) is not None

    def path(self, key: str) -> Path:
        """Return the folder of a result, on this machine.

        Raises:
            UnknownError: there is no such result.
            ChangedResultError: a file of the result was changed or removed.
        """
        seal = self.seal(key)
        if seal is None:
            shared = self._shared_seal(key)
            if shared is None:
                raise UnknownError(f"no result of a step has the key {key[:_SHOWN]} in {self.root}")
            with self.alone(key):
                seal = self.seal(key) or self._fetch(shared)
        self._check(seal)
        return self.root / key / seal.name

    def output(self, key: str, name: str) -> Path:
        """Return the folder to which a step writes; its checkpoints lie beside it.

        The path depends on the key alone, also where another recipe gives the step another name,
        so that a killed training is resumed.

        Args:
            key: key of the result.
            name: name of the step.
        """
        folder = self.root / key
        sweep(folder)  # what a killed command was writing is no result
        begun = [path.name for path in (folder / ".checkpoints").glob("*") if path.is_dir()]
        done = [path.name for path in folder.glob("*") if workspace.kind_of(path)]
        every = (*done, *begun)
        names = [each for each in every if not each.endswith(".failed") and each[0] != "."]
        return folder / (names[0] if names else workspace.slug(name.replace("/", "-")))

    def add(self, key: str, folder: Path, verb: str = "", seconds: float = 0.0) -> Path:
        """Take a result: it is there whole, or not at all.

        Args:
            key: key of the result.
            folder: model directory or bundle. What lies at `output` is sealed where it is, anything
                else is copied.
            verb: verb of the step.
            seconds: how long the step took.

        Returns:
            the folder in the store; the one that was there before if there was one.

        Raises:
            ArtifactError: the folder is neither a model directory nor a bundle.
            StorageError: the disk is full; nothing is added.
        """
        with self.alone(key):
            seal = self.seal(key)
            if seal is None:
                if workspace.kind_of(folder) is None:
                    raise ArtifactError(f"{folder} is neither a model directory nor a bundle")
                target = self.root / key / folder.name
                if folder.absolute() != target:
                    _copy(folder, target)
                seal = Seal(key, target.name, verb, _hashes_of(target, self.hashes), seconds)
                self._write(seal)
            self._share(seal)
        return self.root / key / seal.name

    def share(self, key: str) -> None:
        """Copy a result of this machine to the shared location, which other machines read."""
        seal = self.seal(key)
        if seal is not None:
            with self.alone(key):
                self._share(seal)

    def _share(self, seal: Seal) -> None:
        if self._shared is not None and self._shared_seal(seal.key) is None:
            place = self._shared.upload(seal.key, self.root / seal.key / seal.name, seal.files)
            shared = Seal(**{**asdict(seal), "place": place})
            self._shared.mark(seal.key, as_json(shared))

    def remove(self, key: str) -> None:
        """Remove a result, and what a killed command left of it; names in the workspace stay."""
        with self.alone(key):
            if self._shared is not None:
                self._shared.remove(key)
            (self.root / key / SEAL).unlink(missing_ok=True)
            writing.remove(self.root / key)

    def seal(self, key: str, anywhere: bool = False) -> Seal | None:
        """Return the seal of a result on this machine; None where there is no result.

        Args:
            key: key of the result.
            anywhere: look in the shared location, too.
        """
        path = self.root / key / SEAL
        if path.is_file():
            return read_seal(read_json(path, _WHAT), path)
        return self._shared_seal(key) if anywhere else None

    def keys(self) -> list[str]:
        """Return the keys of all results on this machine."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{SEAL}"))

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Hold the lock of a key while the block runs; wait for another command that holds it."""
        with writing.named_errors(self.root / key), locks.alone(self.root / key, float("inf")):
            yield

    def _check(self, seal: Seal) -> None:
        """Check the files of a result.

        Raises:
            ChangedResultError: a file was changed or removed.
        """
        folder = self.root / seal.key / seal.name
        for name, expected in seal.files.items():
            path = checked_path(folder, name, _WHAT)
            with suppress(OSError):
                if self.hashes.of(path) == expected:
                    continue
            change = "changed" if path.exists() else "removed"
            raise ChangedResultError(
                f"the result of step {seal.name!r} is not what it wrote: {path} was {change}; "
                f"remove {self.root / seal.key}, and the same command makes it again"
            )

    def _shared_seal(self, key: str) -> Seal | None:
        content = self._shared.marker(key) if self._shared is not None else None
        if content is None:
            return None
        shown = Path(f"{self.location}/{key}/{SEAL}")
        return read_seal(parse_json(content, shown), shown)

    def _fetch(self, seal: Seal) -> Seal:
        """Copy a result from the shared location; its hashes are checked before it gets its name.

        Raises:
            ChangedResultError: a file is missing there, or is not what the step wrote.
        """
        assert self._shared is not None  # noqa: S101  for the type checker
        target = self.root / seal.key / seal.name
        writing.remove(target)  # what a killed command left
        with writing.new_folder(target) as temporary:
            for name, expected in seal.files.items():
                path = checked_path(temporary, name, _WHAT)
                disk.make_folders(path.parent)
                with suppress(FileNotFoundError):
                    self._shared.download(seal.key, seal.place, name, path)
                if not path.exists() or self.hashes.of(path) != expected:
                    raise ChangedResultError(
                        f"the result of step {seal.name!r} in {self.location} is not what it "
                        f"wrote: {name} was changed or removed; remove {self.location}/{seal.key}, "
                        "and the same command makes it again"
                    )
        local = Seal(**{**asdict(seal), "place": ""})
        self._write(local)
        return local

    def _write(self, seal: Seal) -> None:
        writing.write_atomically(self.root / seal.key / SEAL, as_json(seal))


def _hashes_of(folder: Path, hashes: Hashes) -> dict[str, str]:
    """Return the sha256 of every file of a result."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    return {name: hashes.of(checked_path(folder, name, _WHAT)) for name in names}


def _copy(folder: Path, target: Path) -> None:
    """Copy a folder; it is there whole, or not at all."""
    writing.remove(target)  # what a killed command left
    with writing.new_folder(target) as temporary:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                copied = temporary / path.relative_to(folder)
                disk.make_folders(copied.parent)
                disk.copy(path, copied)
