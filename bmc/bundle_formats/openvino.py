"""OpenVINO IR: an XML file with the graph, and a .bin file with the weights in the same folder."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from xml.parsers import expat

from bmc.bundle_formats._names import check_suffix
from bmc.contracts import Format
from bmc.errors import ArtifactError
from bmc.untrusted import open_regular

_MAX_XML_BYTES = 256 << 20
_XML_CHUNK = 1 << 16
_OPSET = re.compile(r"opset\d{1,3}")


def files(folder: Path, model: str) -> tuple[str, ...]:
    """Return the paths of the graph's file and of the weights file in the bundle."""
    check_suffix(folder, model, ".xml", "OpenVINO IR")
    return parts(model)


def parts(model: str) -> tuple[str, ...]:
    """Return the paths of the graph's file and of the weights file in the bundle."""
    return (model, weights_of(model))


def check(folder: Path, model: str) -> None:
    """Check that all constants lie inside the weights file, and that no layer needs an extension.

    Args:
        folder: the bundle.
        model: path of the XML file in the bundle.

    Raises:
        ArtifactError: a constant reads beyond the weights file, or a layer is not in a standard
            opset, so that OpenVINO would load an extension for it.
    """
    path = folder / model
    with open_regular(path, "bundle", _MAX_XML_BYTES) as file:
        _check_ir(file, str(path), (folder / weights_of(model)).stat().st_size)


def packed(read: Callable[[str], bytes], model: str) -> bool:
    """Check the graph of a packed bundle as `check` does; OpenVINO loads it from memory.

    An ONNX file, which OpenVINO runs in place of an engine, is unpacked.

    Args:
        read: function that returns the bytes of a file of the bundle.
        model: path of the XML or ONNX file in the bundle.

    Raises:
        ArtifactError: see `check`; or the bundle has no weights file.
    """
    if PurePosixPath(model).suffix == ".onnx":
        return False
    check_suffix(None, model, ".xml", "OpenVINO IR")
    _check_ir(io.BytesIO(read(model)), model, len(read(weights_of(model))))
    return True


def weights_of(model: str) -> str:
    """Return the path of the weights file that belongs to a graph's XML file."""
    return PurePosixPath(model).with_suffix(".bin").as_posix()


def _check_ir(file: BinaryIO, name: str, weights_size: int) -> None:
    """Check the constants and layers of an XML file.

    Args:
        file: the XML file.
        name: path of the file, for messages.
        weights_size: size of the weights file in bytes.
    """
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
            offset, size = (_integer(attributes.get(key)) for key in ("offset", "size"))
            if offset + size > weights_size:
                raise ValueError(
                    f"constant {layer.get('name')!r:.60} reads bytes {offset}..{offset + size} of "
                    f"a weights file of {weights_size}"
                )

    def refuse(*_: Any) -> None:
        raise ValueError("it declares a document type or entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        while chunk := file.read(_XML_CHUNK):
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as error:
        raise ArtifactError(f"OpenVINO cannot load {name}: {error}") from error


def _integer(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ValueError(f"{text!r:.40} where a whole number of bytes belongs")
    return int(text)


FORMAT = Format(
    about="OpenVINO on the CPU",
    session="bmc.targets.openvino",
    exporter="bmc.export.openvino",
    files=files,
    dialect="bmc.export.dialects.openvino",
    parts=parts,
    check=check,
    packed=packed,
    precisions=("f32", "bf16"),
)
