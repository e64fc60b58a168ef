"""Outputs: written alone, appear whole or not at all, and a killed command leaves nothing for ever.

Beside an output NAME lie, while it is written, .NAME.bmc-lock, .NAME.*.bmc-new (what is being
written) and, where two names cannot be swapped in one step, .NAME.*.bmc-old (what it replaces).
Whoever holds the lock knows that the others are a killed command's: the next command that writes
in the folder puts back or removes them.
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

from bmc import disk, locks
from bmc.errors import BmcError, UsageError
from bmc.files import storage_error

_HIDDEN = re.compile(r"\.(?P<name>.+?)(\.[0-9a-f]{8}\.bmc-(?P<kind>new|old)|\.bmc-lock)")
_LONGEST_NAME = 220  # bytes of the 255 that a name may have: hidden ones are longer
MODEL_MANIFEST = "bmc.json"
BUNDLE_MANIFEST = "manifest.json"
_MANIFESTS = (MODEL_MANIFEST, BUNDLE_MANIFEST, "report.json")
_CHECKPOINTS = ".checkpoints"
_held: ContextVar[ExitStack | None] = ContextVar("held", default=None)


@contextmanager
def command() -> Iterator[None]:
    """Keep what the block holds until it ends: the length of one command."""
    with ExitStack() as stack:
        token = _held.set(stack)
        try:
            yield
        finally:
            _held.reset(token)


def hold(path: Path) -> None:
    """Lock an output, and so its checkpoints, for the rest of this command.

    Outside of `command` it is only tried; `new_folder` locks an output while it is written.

    Raises:
        UsageError: another command is writing it.
        StorageError: the place cannot be written.
    """
    stack = _held.get()
    with ExitStack() as checked, _named(path):
        (checked if stack is None else stack).enter_context(_locked(_real(path)))


def refuse_existing(output: Path, force: bool) -> None:
    """Refuse an output that exists, before any work is done for it.

    Raises:
        UsageError: `output` exists and `force` is off, or is something that bmc did not write, its
            name is too long, or a file stands where one of its parents would be.
    """
    size = len(os.fsencode(output.name))
    if size > _LONGEST_NAME or any(len(os.fsencode(part)) > 255 for part in output.parts):
        raise UsageError(
            f"the name {output.name[:40]!r}... has {size} bytes, and {_LONGEST_NAME} at most are "
            "possible; name a shorter one with --output"
        )
    recover(output)
    above = next((path for path in output.absolute().parents if path.exists()), None)
    if above and not above.is_dir():
        raise UsageError(f"{output} cannot be written: {above} is no folder; name another place")
    if not output.exists():
        return
    if not force:
        sweep(_real(output).parent)
        raise UsageError(f"{output} exists; --force replaces it, --output names another place")
    if not _is_ours(output):
        raise UsageError(f"{output} is nothing that bmc wrote; --force will not replace it")


@contextmanager
def new_folder(output: Path, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `output`; it becomes `output` when the block ends well.

    What `output`.failed holds goes then: the verb has succeeded.

    Raises:
        UsageError: `output` exists and `force` is off, or another command is writing it.
        StorageError: the disk is full, or the place cannot be written.
    """
    refuse_existing(output, force)
    final = _real(output)
    with _named(output), _locked(final):
        refuse_existing(output, force)  # another command may just have made it
        temporary = _hidden(final, "new")
        try:
            disk.make_folder(temporary)
            yield temporary
            _settle(temporary)
            failed = final.with_name(f"{final.name}.failed")
            if _is_ours(failed):
                remove(failed)
            _put(temporary, final)
        finally:
            _remove(temporary)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader, or a kill, sees the old or the new one.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with replacing(path) as temporary:
        disk.write(temporary, data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what lies there afterwards replaces `path` in one step.

    Another command that replaces the same file is waited for.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with _named(path), _locked(path, patience=float("inf")):
        temporary = _hidden(path, "new")
        try:
            disk.create(temporary)
            mode = temporary.stat().st_mode
            yield temporary
            disk.change_mode(temporary, mode)  # safetensors makes one of its own, with mode 600
            disk.sync(temporary)
            disk.rename(temporary, path)
            disk.sync(path.parent)
        finally:
            _remove(temporary)


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """Give a folder for what is needed for a while; what killed commands left of theirs is removed.

    Args:
        parent: where it lies; Python's tempfile's place (TMPDIR) when left out.

    Raises:
        StorageError: the place cannot be written.
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
    """Hold a path's lock; what killed commands left of it, or beside it, goes first."""
    with locks.alone(path, patience) as first:
        if first:
            _clean(path, path.parent)
            sweep(path.parent)
        yield


def remove(path: Path) -> None:
    """Remove a folder whole: a kill leaves all of it, or something hidden that is swept."""
    if path.exists():
        aside = _hidden(path, "new")
        disk.rename(path, aside)
        _remove(aside)


def recover(path: Path) -> None:
    """Put back an output that a killed command had moved aside, if it has no name now."""
    with suppress(OSError):
        final = _real(path)
        if not final.exists() and any(_all_hidden(final.parent, final.name)):
            sweep(final.parent)


def sweep(folder: Path) -> None:
    """Put back or remove what killed commands left in a folder; a living command's is left alone.

    Checkpoints of an output that was finished after them are removed too.
    """
    with suppress(OSError):
        checkpoints = folder / _CHECKPOINTS
        names = {name for place in (folder, checkpoints) for name, _, _ in _all_hidden(place)}
        old = {path.name for path in _children(checkpoints) if _is_older(path, folder)}
        for name in names | old:
            with suppress(OSError, locks.BusyError), locks.alone(folder / name, 0) as first:
                if first:
                    _clean(folder / name, folder)
                    if name in old and _is_older(checkpoints / name, folder):
                        disk.remove_tree(checkpoints / name)
        if checkpoints.is_dir() and not _children(checkpoints):
            disk.remove_folder(checkpoints)


def _clean(path: Path, folder: Path) -> None:
    """Put back or remove what is hidden of one output; its lock is held."""
    for _, kind, hidden in list(_all_hidden(folder, path.name)):
        if kind == "old" and not path.exists():
            disk.rename(hidden, path)
        elif kind:
            disk.remove_tree(hidden)
    for _, _, hidden in list(_all_hidden(folder / _CHECKPOINTS, path.name)):
        disk.remove_tree(hidden)


def _all_hidden(folder: Path, name: str | None = None) -> Iterator[tuple[str, str | None, Path]]:
    """Yield what lies hidden: whose it is, "new" or "old" or None (a lock), and its path."""
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
    """Tell whether checkpoints are older than the output that they were for."""
    for manifest in _MANIFESTS:
        with suppress(OSError):
            finished = (folder / checkpoints.name / manifest).stat().st_mtime_ns
            times = [path.stat().st_mtime_ns for path in checkpoints.rglob("*") if path.is_file()]
            return all(time < finished for time in times)
    return False


def _hidden(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.bmc-{kind}")


def _real(output: Path) -> Path:
    """Return where an output lies: behind a link, if it is one."""
    absolute = output.absolute()
    return Path(os.path.realpath(absolute)) if absolute.is_symlink() else absolute


def _is_ours(output: Path) -> bool:
    """Tell whether bmc wrote a folder; an empty one is anybody's."""
    return output.is_dir() and (
        any((output / name).is_file() for name in _MANIFESTS) or not any(output.iterdir())
    )


def _settle(folder: Path) -> None:
    """Give all files the mode of files made here, and have them really stored."""
    mode = folder.stat().st_mode & 0o666
    paths = sorted(folder.rglob("*"), reverse=True)
    for path in (one for one in paths if not one.is_symlink()):
        if path.is_file() and path.stat().st_mode & 0o777 != mode:
            disk.change_mode(path, mode)
        disk.sync(path)
    disk.sync(folder)


def _put(temporary: Path, final: Path) -> None:
    """Give a folder its name; what has that name goes to `temporary`, or is hidden beside it."""
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
    with suppress(OSError):  # swept by the next command
        disk.remove_tree(path)


@contextmanager
def _named(output: Path) -> Iterator[None]:
    """Say what could not be written where the disk is the reason, also behind a library's error."""
    try:
        yield
    except BmcError:
        raise
    except Exception as error:  # each library has an error of its own for a full disk
        explained = storage_error(error, output)
        if explained:
            raise explained from error
        raise
