"""Code that is not bmc's own: in which of its lines, or layers, an error arose."""

from __future__ import annotations

import functools
import os
import re
import sysconfig
import traceback
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from bmc.errors import BmcError, ModelCodeError

if TYPE_CHECKING:
    from torch import nn

_MOST = 200  # characters of a foreign message
_BMC = Path(__file__).parent  # parts of it may be links, and it may lie behind one itself
_PARTS = [_BMC / part for part in (".", "compress", "export", "targets")]
_OWN = tuple({f"{path}{os.sep}" for part in _PARTS for path in (part, part.resolve())})
_CALLERS = (
    f"{os.sep}model.py",
    f"{os.sep}models{os.sep}image_networks.py",
    f"{os.sep}models{os.sep}memory.py",
)
_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PACKAGES = f"-packages{os.sep}"  # site- or dist-
_SELF = "bmc-toolkit"
_INSTEAD = frozenset({"tensorrt"})  # taken in place of tensorrt_rtx where it is installed
_USERS = ("timm", "dev")  # extras that are no part of bmc: an error in timm is one of its network


def failure_of(error: Exception, module: nn.Module) -> ModelCodeError | None:
    """Say where a network failed that is not bmc's own; None where the error is bmc's.

    Args:
        error: what a call of the network raised.
        module: the network, as bmc called it.
    """
    if isinstance(error, BmcError):
        return None
    where = line_of(error)
    if not where and getattr(module, "is_foreign", False) and _last_own(error).endswith(_CALLERS):
        where = _layer_of(error, module)
    return ModelCodeError(f"the network fails in {where}: {summary_of(error)}") if where else None


def line_of(error: BaseException | None) -> str:
    """Return the file, line and function of foreign code in which an error arose; "" if in none.

    What packages raise, such as torch, is laid at the line that called them. A package that bmc
    does not know, such as one with the user's networks, is named where no other file is.
    """
    while error is not None:
        frames = list(traceback.walk_tb(error.__traceback__))
        files = [frame.f_code.co_filename for frame, _ in frames]
        own = max((at for at, path in enumerate(files) if path.startswith(_OWN)), default=-1)
        below = [at for at in range(own + 1, len(files)) if _is_foreign(files[at])]
        found = [at for at in below if _PACKAGES not in files[at]] or below
        if found:
            frame, number = frames[found[-1]]
            return f"{Path(files[found[-1]]).name}:{number}, in {frame.f_code.co_name}"
        error = error.__cause__
    return ""


def line_of_call(frame: FrameType | None) -> str:
    """Return the file, line and function of the innermost foreign caller of a frame; "" if none."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_OWN):
            return ""
        if _is_foreign(path):
            return f"{Path(path).name}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def summary_of(error: BaseException) -> str:
    """Return an error's class and message in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_MOST] if text else type(error).__name__


def _is_foreign(path: str) -> bool:
    if _PACKAGES in path:
        return path.rpartition(_PACKAGES)[2].partition(os.sep)[0].partition(".")[0] not in _known()
    return not path.startswith((*_OWN, _LIBRARY, "<"))


@functools.cache
def _known() -> frozenset[str]:
    """Return the packages that bmc itself calls, and theirs: an error there is the caller's."""
    waiting, required = [_SELF], {_SELF}
    while waiting:
        new = {name for name in _requirements(waiting.pop()) if name not in required}
        required |= new
        waiting += new
    return _INSTEAD | {
        module
        for module, names in metadata.packages_distributions().items()
        if any(_normal(name) in required for name in names)
    }


def _requirements(name: str) -> set[str]:
    """Return the distributions that an installed one needs; optional ones of bmc's alone."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return set()
    left_out = [f'extra == "{extra}"' for extra in _USERS] if name == _SELF else ["extra =="]
    needed = [line for line in lines if not any(mark in line for mark in left_out)]
    return {_normal(_NAME.match(line).group()) for line in needed}  # type: ignore[union-attr]


def _normal(name: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _layer_of(error: BaseException, module: nn.Module) -> str:
    """Return the innermost layer that was at work, such as "layer 3 (Linear)"."""
    paths = {id(layer): path for path, layer in module.named_modules()}
    found = "its own layers"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        layer = frame.f_locals.get("self")
        if paths.get(id(layer)):
            found = f"layer {paths[id(layer)]} ({type(layer).__name__})"
    return found


def _last_own(error: BaseException) -> str:
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return ["", *[path for path in files if path.startswith(_OWN)]][-1]
