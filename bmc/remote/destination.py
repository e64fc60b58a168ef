"""Read which machine to log in to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bmc.errors import UsageError

_DESTINATION = re.compile(
    r"(?:(?P<user>[A-Za-z0-9._][A-Za-z0-9._-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])"
    r"(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True)
class Destination:
    """A machine to log in to.

    Args:
        text: the machine as the user typed it.
        login: user and host as ssh takes them.
        port: port of the ssh server; None for the one in the user's ssh configuration.
    """

    text: str
    login: str
    port: int | None = None

    @staticmethod
    def read(text: str) -> Destination:
        """Read user@host, user@host:port, or a host of the user's ssh configuration.

        Raises:
            UsageError: the text is none of these.
        """
        match = _DESTINATION.fullmatch(text)
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 0 < port < 65536):
            raise UsageError(
                f"{text!r:.80} is not a machine to log in to; write user@host or user@host:port "
                "(an IPv6 address in brackets)"
            )
        host = match["host"].strip("[]")
        return Destination(text, f"{match['user']}@{host}" if match["user"] else host, port)

    @property
    def by_hand(self) -> str:
        """The command that a person types to log in."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{self.login}"
