"""The processes that train one model together, as torchrun and accelerate launch number them."""

from __future__ import annotations

import itertools
import os

from bmc.errors import UsageError

_NUMBER, _COUNT = "RANK", "WORLD_SIZE"
_LOCAL_NUMBER, _LOCAL_COUNT = "LOCAL_RANK", "LOCAL_WORLD_SIZE"
_NEEDED = (_NUMBER, _COUNT, "MASTER_ADDR", "MASTER_PORT")


def count() -> int:
    """Return the number of processes; 1 where no launcher has started this one.

    Raises:
        UsageError: the launcher's variables make no sense.
    """
    return _whole(_COUNT, 1) if all(os.environ.get(name) for name in _NEEDED) else 1


def number() -> int:
    """Return the number of this process among all, from 0."""
    return _whole(_NUMBER, 0) if count() > 1 else 0


def local_number() -> int:
    """Return the number of this process among those of its machine, from 0."""
    return _whole(_LOCAL_NUMBER, number()) if count() > 1 else 0


def local_count() -> int:
    """Return the number of processes on this machine."""
    return _whole(_LOCAL_COUNT, count()) if count() > 1 else 1


def is_first() -> bool:
    """Tell whether this process prints and writes files; one process in all does."""
    return number() == 0


def share(rows: int) -> slice:
    """Return the rows of a batch that this process computes: as many as the others, or one more.

    A batch of fewer rows than processes is not divided: every process computes all of its rows.

    Args:
        rows: number of rows in the batch.
    """
    return shares(rows)[number()]


def shares(rows: int) -> list[slice]:
    """Return for each process the rows of a batch that it computes."""
    processes = count()
    if not is_divided(rows):
        return [slice(0, rows)] * processes
    ends = [rows * done // processes for done in range(processes + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def is_divided(rows: int) -> bool:
    """Tell whether a batch of so many rows is divided among several processes."""
    return 1 < count() <= rows


def refuse_several(what: str) -> None:
    """Refuse work that only one process can do.

    Args:
        what: the work, as the subject of a sentence.

    Raises:
        UsageError: a launcher has started several processes.
    """
    if count() > 1:
        raise UsageError(
            f"{what} runs in one process, and {count()} were started ({_COUNT}={count()}): start "
            "it without accelerate launch or torchrun"
        )


def _whole(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise UsageError(f"{name} is {text!r}; accelerate launch and torchrun set a whole number")
    return int(text) if text else default
