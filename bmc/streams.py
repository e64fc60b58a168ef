"""Manage stdout and stderr: stdout carries only results, and a closed stream is not a crash."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import TextIO, cast

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


class Lossy:
    """A stream that ignores write errors: a command continues when its stderr was closed.

    Args:
        stream: the stream to write to; None in a process that was started without the stream.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text) if self._stream else len(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            if self._stream:
                self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("there is no stderr")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"


class ReaderLeftError(Exception):
    """The program that reads the results, such as `head`, has ended."""


class UnprintedError(Exception):
    """Results could not be written.

    Args:
        reason: the exception of the stream.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Closed(io.StringIO):
    """The stand-in for stdout in a process that was started without stdout."""


def stderr() -> TextIO:
    """Return the current `sys.stderr` as a stream that ignores write errors."""
    return cast(TextIO, Lossy(sys.stderr))


def results() -> TextIO:
    """Return the stream to which results are printed.

    Raises:
        OSError: the process was started without stdout.
    """
    stream = sys.stdout if _results.get() is None else _results.get()
    if stream is None or isinstance(stream, _Closed):
        raise OSError("stdout is closed")
    return stream


def open_missing() -> None:
    """Open the null device as each standard stream that the process was started without.

    Otherwise the next opened file would get the number of the missing stream, and a library that
    prints to stderr would write into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is `descriptor`
    if sys.stderr is None:
        # print(file=None) would print to stdout.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


@contextmanager
def results_alone() -> Iterator[None]:
    """Redirect what libraries print to stdout, from Python or C++, to stderr while the block runs.

    `results` still returns the real stdout; characters that its encoding lacks are escaped.
    """
    with _real_stdout() as stream, redirect_stdout(stderr()):
        token = _results.set(stream)
        saved = os.dup(1)
        os.dup2(2, 1)
        try:
            yield
        finally:
            os.dup2(saved, 1)
            os.close(saved)
            _results.reset(token)


@contextmanager
def _real_stdout() -> Iterator[TextIO]:
    """Give the block a stream to the current stdout.

    The stdout of the process is duplicated, because `results_alone` redirects its descriptor.
    """
    stdout = sys.stdout
    try:
        is_process_stdout = stdout.fileno() == 1
    except (AttributeError, OSError, ValueError):  # closed, or replaced by a test or a notebook
        is_process_stdout = False
    if not is_process_stdout:
        yield _Closed() if stdout is None else stdout  # Python sets a closed stdout to None
        return
    stdout.flush()
    with open(
        os.dup(1), "w", encoding=stdout.encoding, errors="backslashreplace", closefd=True
    ) as stream:
        yield stream


class _Page(io.StringIO):
    """Text on its way to the results, formatted for the terminal or for a file."""

    def isatty(self) -> bool:
        with suppress(OSError):
            return results().isatty()
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        with suppress(OSError):
            return results().encoding or "utf-8"
        return "utf-8"


@contextmanager
def as_results() -> Iterator[None]:
    """Print as a result what is printed to stdout while the block runs, such as a --help.

    Raises:
        UnprintedError: the results' stream is full, closed, or left by its reader.
    """
    page = _Page()
    try:
        with redirect_stdout(page):
            yield
    finally:
        text = page.getvalue().rstrip()
        if text:
            try:
                print(text, file=results(), flush=True)
            except OSError as error:
                raise UnprintedError(error) from error


def is_lost() -> bool:
    """Tell whether results can no longer be written."""
    try:
        results().flush()
    except (OSError, ValueError):
        return True
    return False


def discard_unwritten() -> None:
    """Discard the results that could not be written; else closing their stream raises again."""
    stream = _results.get() or sys.stdout
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
