"""Allow only code that the user named in this command or call; a file cannot name code to run."""

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


def trust(codes: str) -> None:
    """Allow functions to run in this command or call, because the user typed their names.

    Args:
        codes: names of functions, as module:function or python:module:function, separated by
            commas; "" allows none any more.

    Raises:
        SettingError: a name does not have this form.
    """
    names = names_of(codes)
    _typed.set(_typed.get() | set(names) if names else _NONE)


def names_of(codes: str) -> list[str]:
    """Return the names of functions that are separated by commas, as files name them.

    Raises:
        SettingError: a name is not of the form module:function.
    """
    return [named(each.strip()) for each in codes.split(",") if each.strip()]


def named(code: str) -> str:
    """Return the name of a function in the form in which files name it, module:function.

    Args:
        code: name of the function, as module:function or python:module:function; "" for none.

    Raises:
        SettingError: the name does not have this form.
    """
    name = code.removeprefix("python:")
    if code and not _CODE.fullmatch(name):
        raise SettingError(f"your own code is named {name!r}; it must look like module:function")
    return name


def trusted() -> frozenset[str]:
    """Return the names of the functions that may run, to pass them to a process of this command."""
    return _typed.get()


@contextmanager
def trusting(*codes: str) -> Iterator[None]:
    """Let functions run in a block, and what `trust` adds in it; afterwards it is as before.

    Args:
        codes: module:function, or several separated by commas; "" is left out.
    """
    before = _typed.set(_typed.get().union(*map(names_of, codes)))
    try:
        yield
    finally:
        _typed.reset(before)


def check_trusted(code: object) -> str:
    """Return the name of a function that a file names, if the user typed the same name.

    Args:
        code: value in the file.

    Raises:
        ArtifactError: the user did not type the name; nothing was imported.
    """
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ArtifactError(
            f"the model is built by code named {code!r:.60}, which is not of the form "
            "module:function"
        )
    if code not in _typed.get():
        raise ArtifactError(
            f"the model is built by your own code, {code}; bmc runs no code that a file names: "
            f"if you trust it, add --code {code}"
        )
    return code
