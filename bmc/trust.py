"""Whose code may run: only what the user named in this command or call, never what a file names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bmc.errors import ArtifactError, SettingError

_NAME = r"[A-Za-z_]\w*"
_CODE = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}")
_NONE: frozenset[str] = frozenset()
_typed: ContextVar[frozenset[str]] = ContextVar("typed", default=_NONE)


def trust(code: str) -> None:
    """Let one function more run in this command or call, because the user typed its name.

    Args:
        code: module:function, or python:module:function; "" lets none run any more.

    Raises:
        SettingError: it does not look like that.
    """
    name = named(code)
    _typed.set(_typed.get() | {name} if name else _NONE)


def named(code: str) -> str:
    """Return code as a file names it, module:function; "" for none.

    Raises:
        SettingError: it does not look like that.
    """
    name = code.removeprefix("python:")
    if code and not _CODE.fullmatch(name):
        raise SettingError(f"your own code is named {name!r}; it must look like module:function")
    return name


@contextmanager
def trusting(*codes: str) -> Iterator[None]:
    """Let functions run in a block, and what `trust` adds in it; afterwards it is as before.

    Args:
        codes: module:function; "" is left out.
    """
    before = _typed.set(_typed.get() | {named(code) for code in codes if code})
    try:
        yield
    finally:
        _typed.reset(before)


def check_trusted(code: object) -> str:
    """Return code that a file names, if the user typed the same.

    Raises:
        ArtifactError: the user did not; nothing was imported.
    """
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ArtifactError(f"the model is built by code named {code!r:.60}, which is no function")
    if code not in _typed.get():
        raise ArtifactError(
            f"the model is built by your own code, {code}; bmc runs none that a file names: "
            f"if you trust it, add --code {code}"
        )
    return code
