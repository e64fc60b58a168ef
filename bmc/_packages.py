"""Optional packages: which extra of bmc installs each."""

from __future__ import annotations

from bmc.errors import MissingError

_EXTRA_OF_PACKAGE = {
    "torch": "train",
    "transformers": "train",
    "safetensors": "train",
    "sklearn": "train",
    "torch_pruning": "train",
    "onnx": "train",
    "seqeval": "train",
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
    "optuna": "search",
    "sqlalchemy": "search",
    "soundfile": "audio",
    "soxr": "audio",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "fsspec": "recipes",
    "pydantic": "recipes",
    "yaml": "recipes",
    "ray": "ray",
    "grpc": "ray",
}


def missing(error: ModuleNotFoundError, needed_by: str) -> MissingError:
    """Turn a failed import of an optional package into the command that installs it."""
    package = (error.name or "").partition(".")[0]
    if package == "bmc":
        raise error
    if not package:  # raised by a package itself: transformers, where a module of its own fails
        return MissingError(f"{needed_by} cannot be imported: {str(error).partition(chr(10))[0]}")
    extra = _EXTRA_OF_PACKAGE.get(package, package)
    return MissingError(
        f"{needed_by} needs the package {package}: pip install 'bmc-toolkit[{extra}]'"
    )
