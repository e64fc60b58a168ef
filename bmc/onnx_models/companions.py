"""Files that lie beside an ONNX file and say how its inputs are made and what its classes mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmc.untrusted import read_json

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
PREPROCESSOR = "preprocessor_config.json"
CONFIG = "config.json"
_FOLDER = "onnx"  # exported Hugging Face models have their ONNX files in this folder


def beside(model: Path, name: str) -> Path | None:
    """Return a file beside an ONNX file, or above its folder `onnx`; None where there is none."""
    folder = model.absolute().parent
    folders = (folder, folder.parent) if folder.name == _FOLDER else (folder,)
    return next((path for each in folders if (path := each / name).is_file()), None)


def json_beside(model: Path, name: str) -> Mapping[str, Any]:
    """Return the JSON object of a file beside an ONNX file; {} where there is no such file.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = beside(model, name)
    return {} if path is None else read_json(path, "folder of an ONNX file", links=True)
