"""Load one model for all threads of a process and for its forked children."""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bmc import bundle as bundles
from bmc import disk, packed, targets
from bmc.bundle import Bundle
from bmc.contracts.targets import TARGETS, format_of
from bmc.errors import ArtifactError, SettingError, UsageError, unknown
from bmc.targets import RuntimeOptions, Session


class SharedSession:
    """A session of a bundle, with a count of the running calls.

    The session is freed after `close`, when the last running call has ended. In a forked child the
    first call loads the session again, because the threads of the runtime did not survive the fork.

    Args:
        bundle: the bundle to load.
        options: threads and precision of the runtime.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        self._bundle = replace(bundle)  # without the cached encoder
        self._options = options
        self._lock = threading.Lock()
        self._calls = 0
        self._closed = self._forked = False
        self._session: Session | None = self._load()
        _LOADED.add(self)

    def current(self) -> Session:
        """Return the session of this process.

        Raises:
            UsageError: the session was closed, or its runtime does not survive a fork.
            ArtifactError: in a forked child, the bundle on disk has been replaced.
        """
        with self._lock:
            return self._current()

    @contextmanager
    def in_use(self) -> Iterator[Session]:
        """Give the block the session; the session is not freed before the block ends."""
        with self._lock:
            session = self._current()
            self._calls += 1
        try:
            yield session
        finally:
            with self._lock:
                self._calls -= 1
                idle = self._take_if_idle()
            if idle:
                idle.__exit__(None, None, None)

    def close(self) -> None:
        """Refuse further calls, and free the session when no call is running."""
        with self._lock:
            self._closed = True
            idle = self._take_if_idle()
        if idle:
            idle.__exit__(None, None, None)

    def _load(self) -> Session:
        return targets.load(self._bundle.manifest.target).load(self._bundle, self._options)

    def _current(self) -> Session:
        if self._closed or self._session is None:
            raise UsageError(
                f"the pipeline of {self._bundle.path} is closed; load the bundle again: bmc.load"
            )
        if self._forked:
            if not self._session.after_fork():
                self._session = self._load_again()
            self._forked = False
        return self._session

    def _load_again(self) -> Session:
        bundle = for_target(bundles.read(self._bundle.path), self._bundle.manifest.target)
        if bundle.manifest != self._bundle.manifest:
            raise ArtifactError(
                f"bundle {bundle.path} was replaced between its loading and the first call of "
                "this forked process; load it again: bmc.load"
            )
        return self._load()

    def _take_if_idle(self) -> Session | None:
        """Return the session for the caller to close, if `close` was called and no call is running.

        The session of a parent process is dropped, not closed.
        """
        if not self._closed or self._calls:
            return None
        session, self._session = self._session, None
        return None if self._forked else session

    def _after_fork_in_child(self) -> None:
        self._lock, self._calls = threading.Lock(), 0
        if self._session is not None:
            # Freeing the session in the child would wait for runtime threads that only the parent
            # has. The extra reference keeps Python from ever freeing it.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
            self._forked = True


def for_target(bundle: Bundle, target: str | None) -> Bundle:
    """Return a bundle as a target's runtime loads it.

    Args:
        bundle: the bundle.
        target: name of the target; the bundle's own when None.

    Raises:
        SettingError: `target` is a number.
        UnknownError: there is no such target.
        UsageError: the bundle has no model for the target.
    """
    bundle_target = bundle.manifest.target
    if target is None or target == bundle_target:
        return bundle
    if not isinstance(target, str):
        raise SettingError(
            f'target is {target!r:.40}; it names a runtime, such as "onnx". threads= sets the '
            "number of threads"
        )
    if target not in TARGETS.names():
        raise unknown("target", target, TARGETS.names())
    model_format = format_of(bundle_target)
    if target in model_format.stand_ins and model_format.source in bundle.files:
        manifest = replace(bundle.manifest, target=target, model=model_format.source)
        return replace(bundle, manifest=manifest)
    raise UsageError(
        f"bundle {bundle.path} is for {bundle_target}, and has no model for {target}: "
        f"bmc export {bundle.manifest.name:.60} --target {target} makes a bundle that has"
    )


def with_files(bundle: Bundle, owner: object) -> tuple[Bundle, Callable[[], object]]:
    """Return a bundle that its runtime can load, and a function that removes its temporary files.

    A packed bundle whose runtime needs files is unpacked into a temporary folder, which is removed
    at the latest when `owner` is freed or the process ends. Other bundles are returned as they are.

    Args:
        bundle: the bundle.
        owner: object that uses the files.

    Raises:
        ArtifactError: the packed bundle is damaged.
    """
    if bundle.archive is None or bundle.runs_from_memory:
        return bundle, lambda: None
    folder = Path(tempfile.mkdtemp(prefix="bmc-"))  # which no other user may enter
    remove = weakref.finalize(owner, _remove, folder, os.getpid())
    try:
        packed.unpack(bundle.archive, folder)
        return replace(bundles.read(folder), manifest=bundle.manifest), remove
    except BaseException:
        remove()
        raise


def _remove(folder: Path, made_by: int) -> None:
    """Remove a temporary folder; a forked child leaves it to its parent."""
    if os.getpid() == made_by:
        disk.remove_tree(folder)


_LOADED: weakref.WeakSet[SharedSession] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for session in list(_LOADED):
        session._after_fork_in_child()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
