"""Code that is not bmc's own: in which of its lines, or layers, an error arose."""

from __future__ import annotations

import os
import sysconfig
import traceback
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
_CALLERS = (f"{os.sep}model.py", f"{os.sep}models{os.sep}_images.py")
_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_PACKAGES = f"-packages{os.sep}"  # site- or dist-
_KNOWN = (  # packages that bmc itself calls: an error in them is the calling line's
    *("torch", "torchgen", "functorch", "torch_pruning", "transformers", "safetensors", "sklearn"),
    *("scipy", "numpy", "sympy", "onnx", "onnxscript", "onnx_ir", "onnxruntime", "openvino"),
    *("tensorrt", "tensorrt_rtx", "tokenizers", "cyclopts", "rich", "PIL"),
)


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
        return path.rpartition(_PACKAGES)[2].partition(os.sep)[0].partition(".")[0] not in _KNOWN
    return not path.startswith((*_OWN, _LIBRARY, "<"))


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
