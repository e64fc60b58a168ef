"""Write outputs so that each appears complete or not at all, also when a command is killed.

While a command writes an output NAME, the folder also holds hidden files:

.NAME.bmc-lock     the lock: only one command writes an output at a time
.NAME.*.bmc-new    the new output, before it gets its name
.NAME.*.bmc-old    the replaced output, where the system cannot swap two names in one step

A command that gets the lock knows that other hidden files of NAME belong to a killed command. The
next command that writes in the folder removes them, or renames a replaced output to its old name.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from bmc import disk, locks, processes
from bmc.errors import BmcError, UsageError
from bmc.files import BUNDLE_MANIFEST, MODEL_MANIFEST, storage_error

_HIDDEN = re.compile(r"\.(?P<name>.+?)(\.[0-9a-f]{8}\.bmc-(?P<kind>new|old)|\.bmc-lock)")
_MAX_NAME_BYTES = 220  # bytes; hidden names are longer, and a file system allows 255 bytes
_MANIFESTS = (MODEL_MANIFEST, BUNDLE_MANIFEST, "report.json")
_CHECKPOINTS = ".checkpoints"
_held: ContextVar[ExitStack | None] = ContextVar("held", default=None)


@contextmanager
def command() -> Iterator[None]:
    """Keep the locks taken with `hold` until the block, one command, ends."""
    with ExitStack() as stack:
        token = _held.set(stack)
        try:
            yield
        finally:
            _held.reset(token)


def hold(path: Path) -> None:
    """Lock an output and its checkpoints until the running `command` block ends.

    Outside of a `command` block the lock is taken and released at once, as a check. Of several
    processes of one training the first takes the lock for all.

    Args:
        path: path of the output.

    Raises:
        UsageError: another command is writing the output.
        StorageError: the folder cannot be written.
    """
    if not processes.is_first():
        return
    stack = _held.get()
    with ExitStack() as checked, named_errors(path):
        (checked if stack is None else stack).enter_context(_locked(_real(path)))


def refuse_existing(output: Path, force: bool) -> None:
    """Check, before any work is done, that an output can be written.

    Args:
        output: path of the output.
        force: allow an existing output that bmc wrote.

    Raises:
        UsageError: `output` exists and `force` is off, `output` was not written by bmc, its name is
            too long, or one of its parents is a file.
    """
    size = len(os.fsencode(output.name))
    if size > _MAX_NAME_BYTES or any(len(os.fsencode(part)) > 255 for part in output.parts):
        raise UsageError(
            f"the name {output.name[:40]!r}... has {size} bytes, and {_MAX_NAME_BYTES} at most are "
            "possible; name a shorter one with --output"
        )
    if processes.is_first():
        recover(output)
    parent = next((path for path in output.absolute().parents if path.exists()), None)
    if parent and not parent.is_dir():
        raise UsageError(
            f"{output} cannot be written: {parent} is not a folder; name another place"
        )
    if not output.exists():
        return
    if not force:
        if processes.is_first():
            sweep(_real(output).parent)
        raise UsageError(f"{output} exists; --force replaces it, --output names another place")
    if not _is_ours(output):
        raise UsageError(f"{output} was not written by bmc; --force will not replace it")


@contextmanager
def new_folder(output: Path, force: bool = False) -> Iterator[Path]:
    """Give the block a temporary folder, which becomes `output` when the block ends without error.

    A folder NAME.failed, left by an earlier run that failed a check, is removed then.

    Args:
        output: path of the output.
        force: replace an existing output.

    Raises:
        UsageError: `output` exists and `force` is off, or another command is writing `output`.
        StorageError: the disk is full, or the folder cannot be written.
    """
    refuse_existing(output, force)
    final = _real(output)
    with named_errors(output), _locked(final):
        refuse_existing(output, force)  # another command may have finished before the lock was free
        temporary = _hidden(final, "new")
        try:
            disk.make_folder(temporary)
            yield temporary
            _sync(temporary)
            failed = final.with_name(f"{final.name}.failed")
            if _is_ours(failed):
                remove(failed)
            _replace(temporary, final)
        finally:
            _remove(temporary)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: at any time the path holds the old or the new content.

    Of several processes of one training the first writes.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    if not processes.is_first():
        return
    with replacing(path) as temporary:
        disk.write(temporary, data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the block a temporary path to write to; that file replaces `path` when the block ends.

    If another command is replacing the same file, this one waits.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    with named_errors(path), _locked(path, patience=float("inf")):
        temporary = _hidden(path, "new")
        try:
            disk.create(temporary)
            mode = temporary.stat().st_mode
            yield temporary
            disk.change_mode(temporary, mode)  # safetensors replaces the file by one of mode 600
            disk.sync(temporary)
            disk.rename(temporary, path)
            disk.sync(path.parent)
        finally:
            _remove(temporary)


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """Give the block a temporary folder, and remove temporary folders of killed commands.

    Args:
        parent: folder in which to create the temporary one; the system's (TMPDIR) when None.

    Raises:
        StorageError: the parent cannot be written.
    """
    parent = parent or Path(tempfile.gettempdir())
    sweep(parent)
    name = parent / f"bmc-{secrets.token_hex(4)}"
    with locks.alone(name):
        temporary = _hidden(name, "new")
        try:
            disk.make_folder(temporary, 0o700)
            yield temporary
        finally:
            _remove(temporary)


@contextmanager
def _locked(path: Path, patience: float = locks.PATIENCE) -> Iterator[None]:
    """Hold the lock of a path while the block runs, and clean up after killed commands before.

    The clean-up covers the path and all other outputs in the same folder.
    """
    with locks.alone(path, patience) as is_outermost:
        if is_outermost:
            _clean(path, path.parent)
            sweep(path.parent)
        yield


def remove(path: Path) -> None:
    """Remove a folder; a kill leaves the whole folder, or a hidden folder that `sweep` removes."""
    if path.exists():
        hidden = _hidden(path, "new")
        disk.rename(path, hidden)
        _remove(hidden)


def recover(path: Path) -> None:
    """Restore an output that a killed command had renamed to replace it, if its name is free."""
    with suppress(OSError):
        final = _real(path)
        if not final.exists() and any(_all_hidden(final.parent, final.name)):
            sweep(final.parent)


def sweep(folder: Path) -> None:
    """Restore or remove the hidden files of killed commands in a folder.

    Files of running commands stay. Checkpoints that are older than their finished output are
    removed too.
    """
    with suppress(OSError):
        checkpoints = folder / _CHECKPOINTS
        names = {name for parent in (folder, checkpoints) for name, _, _ in _all_hidden(parent)}
        outdated = {path.name for path in _children(checkpoints) if _is_older(path, folder)}
        for name in names | outdated:
            with suppress(OSError, locks.BusyError), locks.alone(folder / name, 0) as is_outermost:
                if is_outermost:
                    _clean(folder / name, folder)
                    if name in outdated and _is_older(checkpoints / name, folder):
                        disk.remove_tree(checkpoints / name)
        if checkpoints.is_dir() and not _children(checkpoints):
            disk.remove_folder(checkpoints)


def _clean(path: Path, folder: Path) -> None:
    """Restore or remove the hidden files of one output, whose lock is held."""
    for _, kind, hidden in list(_all_hidden(folder, path.name)):
        if kind == "old" and not path.exists():
            disk.rename(hidden, path)
        elif kind:
            disk.remove_tree(hidden)
    for _, _, hidden in list(_all_hidden(folder / _CHECKPOINTS, path.name)):
        disk.remove_tree(hidden)


def _all_hidden(folder: Path, name: str | None = None) -> Iterator[tuple[str, str | None, Path]]:
    """Yield the hidden files in a folder: the output's name, the kind, and the file's path.

    The kind is "new", "old", or None for a lock.

    Args:
        folder: the folder.
        name: name of the only output to yield files of; every output when None.
    """
    for path in _children(folder):
        match = _HIDDEN.fullmatch(path.name)
        if match and name in (None, match["name"]):
            yield match["name"], match["kind"], path


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_older(checkpoints: Path, folder: Path) -> bool:
    """Tell whether checkpoints are older than the finished output of the same name."""
    for manifest in _MANIFESTS:
        with suppress(OSError):
            finished = (folder / checkpoints.name / manifest).stat().st_mtime_ns
            times = [path.stat().st_mtime_ns for path in checkpoints.rglob("*") if path.is_file()]
            return all(time < finished for time in times)
    return False


def _hidden(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.bmc-{kind}")


def _real(output: Path) -> Path:
    """Return the absolute path of an output; of a link its target."""
    absolute = output.absolute()
    return Path(os.path.realpath(absolute)) if absolute.is_symlink() else absolute


def _is_ours(output: Path) -> bool:
    """Tell whether bmc may replace a folder: a folder that bmc wrote, or an empty one."""
    return output.is_dir() and (
        any((output / name).is_file() for name in _MANIFESTS) or not any(output.iterdir())
    )


def _sync(folder: Path) -> None:
    """Give all files the mode that the umask leaves, and sync them to the disk."""
    mode = folder.stat().st_mode & 0o666
    paths = [path for path in sorted(folder.rglob("*"), reverse=True) if not path.is_symlink()]
    for path in paths:
        if path.is_file() and path.stat().st_mode & 0o777 != mode:
            disk.change_mode(path, mode)
        disk.sync(path)
    disk.sync(folder)


def _replace(temporary: Path, final: Path) -> None:
    """Rename a temporary folder to its final name, and remove the folder that it replaces."""
    if not final.exists():
        disk.rename(temporary, final)
    elif not disk.exchange(temporary, final):
        old = _hidden(final, "old")
        disk.rename(final, old)
        try:
            disk.rename(temporary, final)
        except OSError:
            disk.rename(old, final)
            raise
        disk.rename(old, temporary)
    disk.sync(final.parent)
    _remove(temporary)


def _remove(path: Path) -> None:
    with suppress(OSError):  # `sweep` of the next command removes the rest
        disk.remove_tree(path)


@contextmanager
def named_errors(output: Path) -> Iterator[None]:
    """Turn errors of a full or forbidden disk in the block into bmc's errors.

    Args:
        output: what is written; the messages name it.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except BmcError:
        raise
    except Exception as error:  # each library has its own error class for a full disk
        bmc_error = storage_error(error, output)
        if bmc_error:
            raise bmc_error from error
        raise
