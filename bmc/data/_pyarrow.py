"""Errors of pyarrow, while a file is read, as bmc's own: which file, and after which row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bmc import plugins
from bmc.data_files import check_file, unreadable
from bmc.errors import DataError


@contextmanager
def reading(path: Path, form: str, rows_read: Callable[[], int], way_out: str) -> Iterator[None]:
    """Check that a file can be read by pyarrow; errors in the block say after which row.

    Args:
        path: the file.
        form: name of the file format, for the message.
        rows_read: function that returns the number of rows that were read.
        way_out: what to do with a damaged file, for the message.

    Raises:
        DataError: the file is damaged.
        MissingError: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException  # noqa: PLC0415  only these kinds of file need it
    except ModuleNotFoundError as error:
        raise plugins.missing(error, f"reading {path.name}") from error
    check_file(path)
    try:
        yield
    except (ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno:  # Arrow's own have no number
            raise unreadable(path, error) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} is not readable as {form} after row {rows_read()}: {reason}; {way_out}"
        ) from error
