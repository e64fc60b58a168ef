"""The process's streams: stdout carries a command's result alone, and losing it is not a crash."""

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
    """A stream whose losses are borne: work goes on when nobody reads what is said about it."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream  # None where the process was started without

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
    """What reads the results has ended, such as `head`."""


class UnprintedError(Exception):
    """Results could not be written.

    Args:
        reason: what the stream raised.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Closed(io.StringIO):
    """Stands for the stdout that a process was started without."""


def stderr() -> TextIO:
    """Return today's stderr (tests and callers may have replaced it), its losses borne."""
    return cast(TextIO, Lossy(sys.stderr))


def results() -> TextIO:
    """Return the stream that results are printed to.

    Raises:
        OSError: the process was started without stdout.
    """
    stream = sys.stdout if _results.get() is None else _results.get()
    if stream is None or isinstance(stream, _Closed):
        raise OSError("stdout is closed")
    return stream


def keep_numbers() -> None:
    """Open what the process was started without: else a file of data would become its stderr."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  print would take stdout


@contextmanager
def results_alone() -> Iterator[None]:
    """Send what libraries print to stdout, from Python or C++, to stderr while the block runs.

    `results` writes to the true stdout, and a character that its encoding lacks is written out.
    """
    with _true_stdout() as stream, redirect_stdout(stderr()):
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
def _true_stdout() -> Iterator[TextIO]:
    """Give a stream to today's stdout; one of its own, where that is the process's."""
    stdout = sys.stdout
    try:
        is_process_stdout = stdout.fileno() == 1
    except (AttributeError, OSError, ValueError):  # closed, or a stand-in of a test or a notebook
        is_process_stdout = False
    if not is_process_stdout:
        yield _Closed() if stdout is None else stdout  # None is Python's mark of a closed one
        return
    stdout.flush()
    with open(
        os.dup(1), "w", encoding=stdout.encoding, errors="backslashreplace", closefd=True
    ) as stream:
        yield stream


class _Page(io.StringIO):
    """Text on its way to the results: drawn as for the terminal, or file, that will get it."""

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


def give_up() -> None:
    """Let what results could not be written go nowhere, so that closing their stream is quiet."""
    stream = _results.get() or sys.stdout
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
