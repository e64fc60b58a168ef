"""Files of a shared location, such as s3://bucket/steps, by fsspec; nothing else imports fsspec."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from bmc.errors import BmcError, MissingError, StorageError, reason_of
from bmc.writing import write_atomically

MARKER = "step.json"


class SharedFiles:
    """Results in a location that several machines read and write.

    A result is the folder of a random name in the folder of its key; the marker KEY/step.json is
    written last and names it. The marker is replaced in one step, by an object store itself and by
    bmc in a folder, so that a reader sees a whole result or none, also while two machines add the
    same one.

    Args:
        location: a URL that fsspec knows: s3://bucket/steps, file:///mnt/steps, memory://steps.

    Raises:
        StorageError: the location cannot be opened.
        MissingError: fsspec needs a package for this kind of location.
    """

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.location)
        except ImportError as error:  # fsspec says which package, such as s3fs
            raise MissingError(f"{location}: {reason_of(error)}") from error
        except Exception as error:  # each kind of location has its own classes
            raise StorageError(f"{location} cannot be opened: {reason_of(error)}") from error

    def marker(self, key: str) -> bytes | None:
        """Return the marker of a result; None where there is no result."""
        with self._named("read"):
            try:
                # A listing that an earlier command cached would hide what others added.
                self._files.invalidate_cache()
                content: bytes = self._files.cat_file(self._path(key, MARKER))
            except FileNotFoundError:
                return None
        return content

    def upload(self, key: str, folder: Path, names: Iterable[str]) -> str:
        """Write the files of a result, but not its marker; return the folder's random name."""
        place = secrets.token_hex(8)
        with self._named("written"):
            self._check_bucket()
            for name in names:
                path = self._path(key, place, name)
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(folder / name), path)
        return place

    def mark(self, key: str, marker: bytes) -> None:
        """Write the marker of a result, all of whose files are written."""
        with self._named("written"):
            self._files.makedirs(self._path(key), exist_ok=True)
            if getattr(self._files, "local_file", False):  # a folder, where fsspec writes in place
                write_atomically(Path(self._path(key, MARKER)), marker)
            else:
                self._files.pipe_file(self._path(key, MARKER), marker)

    def download(self, key: str, place: str, name: str, path: Path) -> None:
        """Write a file of a result to a path."""
        with self._named("read"):
            self._files.get_file(self._path(key, place, name), str(path))

    def remove(self, key: str) -> None:
        """Remove a result: first its marker, so that nobody finds half of it."""
        with self._named("removed"):
            for path, is_tree in ((self._path(key, MARKER), False), (self._path(key), True)):
                if self._files.exists(path):
                    self._files.rm(path, recursive=is_tree)

    def _check_bucket(self) -> None:
        """Refuse a bucket that does not exist: fsspec would create one of that name.

        Raises:
            StorageError: it does not exist.
        """
        bucket = self._root.partition("/")[0]  # "" where the paths are those of folders
        if bucket and not self._files.exists(bucket):
            raise StorageError(f"{self.location}: there is no bucket {bucket!r}; create it first")

    def _path(self, *parts: str) -> str:
        return "/".join((self._root.rstrip("/"), *parts))

    @contextmanager
    def _named(self, done: str) -> Iterator[None]:
        """Turn the errors of a location into one that names it."""
        try:
            yield
        except (BmcError, FileNotFoundError):
            raise
        except Exception as error:  # each kind of location has its own classes
            raise StorageError(
                f"{self.location} cannot be {done}: {reason_of(error)}; "
                "the results on this machine are kept: run again when it can be reached"
            ) from error
