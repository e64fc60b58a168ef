"""Settings of a service."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bmc.errors import SettingError

_MEGABYTE = 1_000_000
_LARGEST_PORT = 65_535


@dataclass(frozen=True)
class ServingSettings:
    """Where a service listens, how rows are batched, and what is refused.

    Args:
        host: address to listen on; 0.0.0.0 answers other machines, too.
        port: port to listen on; 0 takes a free one.
        threads: CPU threads of the runtime; 0 lets the runtime choose.
        max_batch: rows that are computed at once, at most.
        max_delay: milliseconds that a row waits for others to fill its batch. With 0, a batch is
            what arrived while the last batch was computed.
        max_waiting: rows that wait at most; a request beyond them gets status 429, and a request
            with more rows than that gets 413.
        max_body: largest body of a request in MB; a larger one gets status 413.
        max_held: MB of all bodies and of the values in them that are held at a time; a request
            beyond them gets status 429, and one that is larger alone gets 413.
        max_text: characters of a text that a tokenizer must read at once, at most; a longer text
            gets status 413. Most tokenizers read the beginning of a long text only.
        timeout: seconds until a body that is not complete gets status 408, and rows that are not
            computed get 503. Running requests have twice that when the service stops.

    Raises:
        SettingError: a setting is out of range.
    """

    GROUP: ClassVar[str] = "Service"

    host: str = "127.0.0.1"
    port: int = 8000
    threads: int = 0
    max_batch: int = 32
    max_delay: float = 0.0
    max_waiting: int = 1024
    max_body: float = 4.0
    max_held: float = 64.0
    max_text: int = 100_000
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= _LARGEST_PORT:
            raise SettingError(f"port is {self.port}; it must lie in 0 to {_LARGEST_PORT}")
        smallest = {"threads": 0, "max_batch": 1, "max_waiting": 1, "max_delay": 0, "max_text": 1}
        for name, least in smallest.items():
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise SettingError(
                    f"{name.replace('_', ' ')} is {value}; it must be a number from {least}"
                )
        for name in ("max_body", "max_held", "timeout"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise SettingError(f"{name.replace('_', ' ')} is {value}; it must be above 0")
        if self.max_held < self.max_body:
            raise SettingError(
                f"max held is {self.max_held} MB; it must be at least max body, {self.max_body} MB"
            )

    @property
    def body_bytes(self) -> int:
        """The largest body of a request in bytes."""
        return int(self.max_body * _MEGABYTE)

    @property
    def held_bytes(self) -> int:
        """The bytes of all bodies that are held at a time."""
        return int(self.max_held * _MEGABYTE)
