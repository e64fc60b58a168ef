"""Find the line or layer of the user's code in which an error was raised."""

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

_MAX_LENGTH = 200  # characters of an error's summary
_BMC = Path(__file__).parent
_FOLDERS = [_BMC / name for name in (".", "compress", "export", "targets")]
# Paths of bmc's folders, and, because any of them can be a link, the paths that they resolve to.
_BMC_PREFIXES = tuple(
    {f"{path}{os.sep}" for folder in _FOLDERS for path in (folder, folder.resolve())}
)
# Files of bmc that call a user's network; an error raised there may come from one of its layers.
_CALLERS = (
    f"{os.sep}model.py",
    f"{os.sep}models{os.sep}image_networks.py",
    f"{os.sep}models{os.sep}memory.py",
)
_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PACKAGES = f"-packages{os.sep}"  # the end of "site-packages" and "dist-packages"
_DISTRIBUTION = "bmc-toolkit"
_ALTERNATIVES = frozenset({"tensorrt"})  # imported in place of tensorrt_rtx where it is installed
_EXTRAS_OF_USERS = ("timm", "dev")  # an error in timm comes from the user's network, not from bmc


def failure_of(error: Exception, module: nn.Module) -> ModelCodeError | None:
    """Return the error for a user's network that failed; None where bmc's own code failed.

    Args:
        error: the exception that a call of the network raised.
        module: the network that bmc called.
    """
    if isinstance(error, BmcError):
        return None
    location = line_of(error)
    is_users = getattr(module, "is_user_network", False)
    if not location and is_users and _last_bmc_file(error).endswith(_CALLERS):
        location = _layer_of(error, module)
    if not location:
        return None
    return ModelCodeError(f"the network fails in {location}: {summary_of(error)}")


def line_of(error: BaseException | None) -> str:
    """Return the file, line and function of the user's code that raised an error; "" if none.

    For an error raised in a package that bmc uses, such as torch, this is the user's line that
    called the package. A line of another installed package is returned only if no other file of the
    user's is involved.
    """
    while error is not None:
        frames = list(traceback.walk_tb(error.__traceback__))
        files = [frame.f_code.co_filename for frame, _ in frames]
        bmc_indices = [i for i, path in enumerate(files) if path.startswith(_BMC_PREFIXES)]
        start = bmc_indices[-1] + 1 if bmc_indices else 0
        users = [index for index in range(start, len(files)) if _is_users(files[index])]
        indices = [index for index in users if _PACKAGES not in files[index]] or users
        if indices:
            frame, number = frames[indices[-1]]
            return f"{Path(files[indices[-1]]).name}:{number}, in {frame.f_code.co_name}"
        error = error.__cause__
    return ""


def line_of_call(frame: FrameType | None) -> str:
    """Return the file, line and function of the user's code that called a frame; "" if none."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_BMC_PREFIXES):
            return ""
        if _is_users(path):
            return f"{Path(path).name}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def summary_of(error: BaseException) -> str:
    """Return an error's class and message in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_MAX_LENGTH] if text else type(error).__name__


def _is_users(path: str) -> bool:
    """Tell whether a source file is neither bmc's, Python's, nor of a package that bmc uses."""
    if _PACKAGES in path:
        package = path.rpartition(_PACKAGES)[2].partition(os.sep)[0].partition(".")[0]
        return package not in _used_packages()
    return not path.startswith((*_BMC_PREFIXES, _LIBRARY, "<"))


@functools.cache
def _used_packages() -> frozenset[str]:
    """Return the import names of bmc's dependencies and of the dependencies of these."""
    queue, required = [_DISTRIBUTION], {_DISTRIBUTION}
    while queue:
        new = {name for name in _requirements(queue.pop()) if name not in required}
        required |= new
        queue += new
    return _ALTERNATIVES | {
        module
        for module, names in metadata.packages_distributions().items()
        if any(_normalized(name) in required for name in names)
    }


def _requirements(name: str) -> set[str]:
    """Return the requirements of an installed distribution; for bmc, with those of its extras."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return set()
    markers = ["extra =="]
    if name == _DISTRIBUTION:
        markers = [f'extra == "{extra}"' for extra in _EXTRAS_OF_USERS]
    needed = [line for line in lines if not any(marker in line for marker in markers)]
    return {_normalized(_NAME.match(line).group()) for line in needed}  # type: ignore[union-attr]


def _normalized(name: str) -> str:
    """Return a distribution's name, normalized as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _layer_of(error: BaseException, module: nn.Module) -> str:
    """Return the innermost layer that was running at an error, such as "layer 3 (Linear)"."""
    paths = {id(layer): path for path, layer in module.named_modules()}
    location = "its own layers"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        layer = frame.f_locals.get("self")
        if paths.get(id(layer)):
            location = f"layer {paths[id(layer)]} ({type(layer).__name__})"
    return location


def _last_bmc_file(error: BaseException) -> str:
    """Return the innermost of bmc's files in an error's traceback; "" if there is none."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((path for path in reversed(files) if path.startswith(_BMC_PREFIXES)), "")
