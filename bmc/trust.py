"""Whose code may run: only what was typed on this command line, never what a file names."""

from __future__ import annotations

import re
from contextvars import ContextVar

from bmc.errors import ArtifactError, SettingError

_NAME = r"[A-Za-z_]\w*"
_CODE = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}")
_typed: ContextVar[str] = ContextVar("typed", default="")


def trust(code: str) -> None:
    """Let one function run in this process, because the user typed its name.

    Args:
        code: module:function, or python:module:function; "" for none.

    Raises:
        SettingError: it does not look like that.
    """
    name = code.removeprefix("python:")
    if code and not _CODE.fullmatch(name):
        raise SettingError(f"your own code is named {name!r}; it must look like module:function")
    _typed.set(name)


def check_trusted(code: object) -> str:
    """Return code that a file names, if the user typed the same.

    Raises:
        ArtifactError: the user did not; nothing was imported.
    """
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ArtifactError(f"the model is built by code named {code!r:.60}, which is no function")
    if code != _typed.get():
        raise ArtifactError(
            f"the model is built by your own code, {code}; bmc runs none that a file names: "
            f"if you trust it, add --code {code}"
        )
    return code
