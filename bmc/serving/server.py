"""Runs a service until a signal ends it."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from bmc import console
from bmc.errors import UsageError, reason_of
from bmc.serving.settings import ServingSettings


@dataclass(frozen=True)
class Address:
    """Where a service listens.

    Args:
        url: its address for a browser.
        listener: the listening socket.
    """

    url: str
    listener: socket.socket


def listen(settings: ServingSettings) -> Address:
    """Open the socket of a service.

    Raises:
        UsageError: the address is taken, or is not this machine's.
    """
    try:
        info = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, *_, address = info[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"cannot listen on {settings.host!r:.80}, port {settings.port}: {reason_of(error)}; "
            "--port 0 takes a free port"
        ) from error
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return Address(f"http://{shown}:{port}", listener)


def run(application: ASGIApp, address: Address, settings: ServingSettings) -> None:
    """Answer requests until SIGINT or SIGTERM; running requests are answered first.

    Args:
        application: the service.
        address: its listening socket.
        settings: how long a connection may be idle, and running requests may take at the end.
    """
    config = uvicorn.Config(
        application,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.timeout),
        # A request may take the time for its body, and again for its rows.
        timeout_graceful_shutdown=math.ceil(2 * settings.timeout),
    )
    console.note(f"{address.url} answers; Ctrl-C ends it")
    try:
        uvicorn.Server(config).run(sockets=[address.listener])
    except KeyboardInterrupt:
        # uvicorn raises the signal again after it has stopped in good order.
        console.note("stopped")
