"""The bodies of requests, read within limits of bytes and of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from bmc.errors import RequestError
from bmc.serving.settings import ServingSettings

_TOO_SLOW, _TOO_LARGE, _TOO_MANY = 408, 413, 429


class BodyReader:
    """Reads the bodies of requests, and counts the bytes of those that are being answered.

    Args:
        settings: the largest body, the bytes of all bodies, and the time that a body may take.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Give the block a request's body; its bytes count as held until the block ends.

        Raises:
            RequestError: the body is too large or too slow, or other bodies fill the memory.
        """
        self._refuse_large(_declared(request))
        content = bytearray()
        try:
            try:
                async with asyncio.timeout(self._settings.timeout):
                    async for chunk in request.stream():
                        content += chunk
                        self._held += len(chunk)
                        self._refuse_large(len(content))
                        self._refuse_full()
            except TimeoutError as error:
                raise RequestError(
                    f"the body was not complete after {self._settings.timeout:g} seconds; "
                    "send it faster, or in smaller parts",
                    _TOO_SLOW,
                ) from error
            yield bytes(content)
        finally:
            self._held -= len(content)

    def _refuse_large(self, size: int) -> None:
        if size > self._settings.body_bytes:
            raise RequestError(
                f"the body has {size:,} bytes or more; at most {self._settings.body_bytes:,} are "
                "read: send fewer rows in a request",
                _TOO_LARGE,
            )

    def _refuse_full(self) -> None:
        if self._held > self._settings.held_bytes:
            raise RequestError(
                f"other requests hold {self._settings.held_bytes:,} bytes; try again in a second",
                _TOO_MANY,
            )


def _declared(request: Request) -> int:
    """Return the length that a request says its body has; 0 where it says none."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
