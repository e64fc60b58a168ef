"""The bodies of requests: read within limits of bytes and of time, parsed within one of memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import Request

from bmc.errors import RequestError
from bmc.serving.rows import is_json
from bmc.serving.settings import ServingSettings

T = TypeVar("T")
_TOO_SLOW, _TOO_LARGE, _TOO_MANY = 408, 413, 429
_SMALL = 32_768  # bytes that are parsed in less time than another thread takes to start
# Bytes of memory of a parsed list, of an object, and of a key or any other value, each with the
# reference to it.
_OF_A_LIST, _OF_AN_OBJECT, _OF_A_VALUE = 100, 150, 60


class BodyReader:
    """Reads the bodies of requests, and counts the memory of those that are being answered.

    Args:
        settings: the largest body, the memory of all bodies, and the time that a body may take.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._held = 0
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="bmc-parse")

    def close(self) -> None:
        """End the thread that parses large bodies."""
        self._parser.shutdown(wait=False)

    @asynccontextmanager
    async def read(self, request: Request, parse: Callable[[bytes], T]) -> AsyncIterator[T]:
        """Give the block a request's parsed body; its memory counts as held until the block ends.

        A large body is parsed in another thread, one at a time, so that other requests go on.

        Args:
            request: the request.
            parse: parses the body.

        Raises:
            RequestError: the body is too large or too slow, or other bodies fill the memory.
        """
        self._refuse_large(_declared(request))
        content = bytearray()
        held = 0
        try:
            try:
                async with asyncio.timeout(self._settings.timeout):
                    async for chunk in request.stream():
                        content += chunk
                        held += len(chunk)
                        self._held += len(chunk)
                        self._refuse_large(held)
                        self._refuse_full()
            except TimeoutError as error:
                raise RequestError(
                    f"the body was not complete after {self._settings.timeout:g} seconds; "
                    "send it faster, or in smaller parts",
                    _TOO_SLOW,
                ) from error
            size, body = held, bytes(content)
            content.clear()
            if is_json(request.headers.get("content-type", "")):
                of_values = _memory_of_values(body)
                held += of_values
                self._held += of_values
                self._refuse_many_values(held)
                self._refuse_full()
            if size <= _SMALL:
                yield parse(body)
                return
            parsed = asyncio.get_running_loop().run_in_executor(self._parser, parse, body)
            del body  # the rows are held from now on, not their JSON
            yield await parsed
        finally:
            self._held -= held

    def _refuse_large(self, size: int) -> None:
        if size > self._settings.body_bytes:
            raise RequestError(
                f"the body has {size:,} bytes or more; at most {self._settings.body_bytes:,} are "
                "read: send fewer rows in a request",
                _TOO_LARGE,
            )

    def _refuse_many_values(self, size: int) -> None:
        if size > self._settings.held_bytes:
            raise RequestError(
                f"the lists and values of the body would take {size:,} bytes of memory; at most "
                f"{self._settings.held_bytes:,} are held: send fewer rows in a request",
                _TOO_LARGE,
            )

    def _refuse_full(self) -> None:
        if self._held > self._settings.held_bytes:
            raise RequestError(
                f"other requests hold {self._settings.held_bytes:,} bytes; try again in a second",
                _TOO_MANY,
            )


def _memory_of_values(content: bytes) -> int:
    """Return the bytes of memory that the values of a JSON body take at most, beyond their texts.

    Commas, colons and brackets inside texts are counted, too.
    """
    values = content.count(b",") + content.count(b":")
    lists, objects = content.count(b"["), content.count(b"{")
    return _OF_A_LIST * lists + _OF_AN_OBJECT * objects + _OF_A_VALUE * values


def _declared(request: Request) -> int:
    """Return the length that a request says its body has; 0 where it says none."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
