"""Record the commands that made a model, as the user typed them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

KEY = "commands"
# Limits for a lineage, because bmc.json may be untrusted: number of commands, characters of each.
_MAX_COMMANDS = 64
_MAX_LENGTH = 4096
_line: ContextVar[str] = ContextVar("line", default="")


@contextmanager
def command(line: str) -> Iterator[None]:
    """Record a command in every output that is written in the block.

    Args:
        line: the command as typed, quoted for a shell.
    """
    token = _line.set(line)
    try:
        yield
    finally:
        _line.reset(token)


def commands_of(origin: Mapping[str, Any]) -> list[str]:
    """Return the recorded commands of a model; malformed entries are left out.

    Args:
        origin: the `origin` of bmc.json, or the lineage of a bundle.
    """
    recorded = origin.get(KEY)
    lines = recorded if isinstance(recorded, list) else []
    return [line for line in lines if isinstance(line, str) and len(line) <= _MAX_LENGTH][
        -_MAX_COMMANDS:
    ]


def recorded(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return an origin to which the running command, if any, is added."""
    line = _line.get()
    if not line or len(line) > _MAX_LENGTH:
        return dict(origin)
    return {**origin, KEY: [*commands_of(origin), line][-_MAX_COMMANDS:]}
