"""Plug-ins: one file each, found by the file's name; a name typed with dashes is a file with _."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from bmc.errors import MissingError, unknown

_EXTRA_OF_PACKAGE = {
    "torch": "train",
    "transformers": "train",
    "safetensors": "train",
    "sklearn": "train",
    "torch_pruning": "train",
    "onnx": "export",
    "onnxscript": "export",
    "onnx_ir": "export",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt",
    "cuda": "tensorrt",
    "altair": "report",
    "vl_convert": "report",
    "jinja2": "report",
    "pyarrow": "parquet",
    "PIL": "images",
    "timm": "timm",
    "torchvision": "timm",
    "datasets": "hub",
}


def names(package: str) -> list[str]:
    """List a package's plug-ins without importing them; files that start with _ are none."""
    path = importlib.import_module(package).__path__
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(path)
        if not module.name.startswith("_")
    )


def load(package: str, name: str, kind: str, hint: str = "") -> ModuleType:
    """Import one plug-in by name.

    Args:
        package: where the plug-ins live, such as "bmc.targets".
        name: the plug-in's name, with dashes.
        kind: what a user calls such a plug-in, for messages.
        hint: the command that lists them all.

    Raises:
        UnknownError: there is no such plug-in; the message names the nearest.
        MissingError: it needs a package that is not installed; the message names the extra.
    """
    if name not in names(package):
        raise unknown(kind, name, names(package), hint)
    try:
        return importlib.import_module(f"{package}.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise missing(error, f"the {kind} {name!r}") from error


def missing(error: ModuleNotFoundError, needed_by: str) -> MissingError:
    """Turn a failed import of an optional package into the command that installs it."""
    package = (error.name or "").partition(".")[0]
    if package == "bmc":
        raise error
    extra = _EXTRA_OF_PACKAGE.get(package, package)
    return MissingError(
        f"{needed_by} needs the package {package}: pip install 'bmc-toolkit[{extra}]'"
    )
