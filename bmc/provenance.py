"""The commands that made a model: each is recorded as it was typed, behind those of its origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

KEY = "commands"
_MOST = 64  # commands in one lineage, and characters of one: bmc.json may come from a stranger
_LONGEST = 4096
_line: ContextVar[str] = ContextVar("line", default="")


@contextmanager
def command(line: str) -> Iterator[None]:
    """Say which command runs in the block: what it writes records it.

    Args:
        line: as it was typed, quoted for a shell.
    """
    token = _line.set(line)
    try:
        yield
    finally:
        _line.reset(token)


def commands_of(origin: Mapping[str, Any]) -> list[str]:
    """Return the commands that bmc.json, or a bundle's lineage, records; malformed ones are none.

    Args:
        origin: what stands there, read from a file.
    """
    recorded = origin.get(KEY)
    lines = recorded if isinstance(recorded, list) else []
    return [line for line in lines if isinstance(line, str) and len(line) <= _LONGEST][-_MOST:]


def recorded(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return an origin with the running command behind those that it has; as it is without one."""
    line = _line.get()
    if not line or len(line) > _LONGEST:
        return dict(origin)
    return {**origin, KEY: [*commands_of(origin), line][-_MOST:]}
