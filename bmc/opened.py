"""The files that a target's run time will open, read from the model itself: none goes unlisted."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from xml.parsers import expat

from bmc.errors import ArtifactError
from bmc.onnx_files import external_files
from bmc.untrusted import open_regular

_MOST_XML = 256 << 20
_XML_CHUNK = 1 << 16
_OPSET = re.compile(r"opset\d{1,3}")
_MODEL_FILES = ("bmc.json", "config.json", "model.safetensors")


def files_of(folder: Path, target: str, model: str) -> tuple[str, ...]:
    """Return the names of all files that loading a bundle's model opens.

    Args:
        folder: the bundle's.
        target: the run time.
        model: what the manifest names as the model.

    Raises:
        ArtifactError: the model is no file of its target's format, or names what no bundle may.
    """
    return _OF_TARGET.get(target, _alone)(folder, model)


def check_model(folder: Path, target: str, model: str) -> None:
    """Check what a model's file says of its other files, as far as that is cheap.

    Raises:
        ArtifactError: an OpenVINO model reads beyond its weights, or needs operators of an
            extension.
    """
    if target == "openvino":
        _check_ir(folder / model, (folder / _weights_of(model)).stat().st_size)


def _alone(folder: Path, model: str) -> tuple[str, ...]:
    return (model,)


def _onnx(folder: Path, model: str) -> tuple[str, ...]:
    _check_suffix(folder, model, ".onnx", "an ONNX file")
    with open_regular(folder / model, f"bundle {folder}") as file:
        if not file.read(1):
            raise ArtifactError(f"ONNX Runtime cannot load {folder / model}: it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                locations = external_files(content)
            except ValueError as error:
                raise ArtifactError(
                    f"ONNX Runtime cannot load {folder / model}: it is no ONNX file ({error})"
                ) from error
    beside = PurePosixPath(model).parent
    return (model, *((beside / location).as_posix() for location in sorted(locations)))


def _openvino(folder: Path, model: str) -> tuple[str, ...]:
    _check_suffix(folder, model, ".xml", "OpenVINO IR")
    return (model, _weights_of(model))


def _tensorrt(folder: Path, model: str) -> tuple[str, ...]:
    source = "model.onnx"  # the engine is rebuilt from it
    return (model, *(_onnx(folder, source) if (folder / source).exists() else ()))


def _pytorch(folder: Path, model: str) -> tuple[str, ...]:
    return tuple(f"{model}/{name}" for name in _MODEL_FILES)


_OF_TARGET: Mapping[str, Callable[[Path, str], tuple[str, ...]]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "pytorch": _pytorch,
    "tensorrt": _tensorrt,
}


def _weights_of(model: str) -> str:
    """Return the file beside an OpenVINO model that holds its weights."""
    return PurePosixPath(model).with_suffix(".bin").as_posix()


def _check_suffix(folder: Path, model: str, suffix: str, what: str) -> None:
    """Refuse another suffix: a run time would take the file for one of another format."""
    if PurePosixPath(model).suffix != suffix:
        raise ArtifactError(f"bundle {folder}: its model {model!r} is no {what} ({suffix})")


def _check_ir(path: Path, weights: int) -> None:
    """Check that constants lie inside the weights, and that all layers are of an opset."""
    layer: Mapping[str, str] = {}

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal layer
        if name == "layer":
            layer = attributes
            version = attributes.get("version", "")
            if not _OPSET.fullmatch(version):
                raise ValueError(
                    f"layer {attributes.get('name')!r:.60} needs operators of {version!r:.40}, an "
                    "extension"
                )
        elif name == "data" and layer.get("type") == "Const":
            offset, size = (_whole(attributes.get(key)) for key in ("offset", "size"))
            if offset + size > weights:
                raise ValueError(
                    f"constant {layer.get('name')!r:.60} reads bytes {offset}..{offset + size} of "
                    f"weights that have {weights}"
                )

    def refuse(*_: Any) -> None:
        raise ValueError("it declares a document type or entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    with open_regular(path, "bundle", _MOST_XML) as file:
        try:
            while chunk := file.read(_XML_CHUNK):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except (expat.ExpatError, ValueError) as error:
            raise ArtifactError(f"OpenVINO cannot load {path}: {error}") from error


def _whole(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ValueError(f"{text!r:.40} where a whole number of bytes belongs")
    return int(text)
