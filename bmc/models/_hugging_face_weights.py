"""The weights of a Hugging Face folder: which files hold them, and whether they fit a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from bmc.errors import ArtifactError
from bmc.untrusted import read_json
from bmc.weights_header import read_header

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_MOST_SHARDS = 1_000
_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Weights:
    """The tensors of a folder, unread.

    Args:
        files: the file of each tensor.
        shapes: of each tensor.
        dtypes: of each tensor, as safetensors writes them.
    """

    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]

    def read(self, name: str) -> Tensor:
        """Read one tensor, as fp32."""
        with safe_open(self.files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor.float()


def weights_of(folder: Path) -> Weights:
    """Read the headers of a folder's safetensors: one file, or what its index lists.

    Raises:
        ArtifactError: there are none, the index names files elsewhere, or one is damaged.
    """
    if (folder / "adapter_config.json").is_file():
        raise ArtifactError(
            f"{folder} holds an adapter, not a whole model; merge it with merge_and_unload() in "
            "peft, and save the model"
        )
    listed = _files(folder)
    files: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for path, names in listed.items():
        header = read_header(path, "Hugging Face model folder", links=True)
        there = set(header.shapes)
        for name in there if names is None else names & there:
            files[name] = path
            shapes[name], dtypes[name] = header.shapes[name], header.dtypes[name]
        lacking = sorted((names or set()) - there)
        if lacking:
            raise ArtifactError(f"{path} lacks {lacking[0]!r:.80}, which {INDEX} says it holds")
    return Weights(files, shapes, dtypes)


def check_fit(
    weights: Weights, expected: Mapping[str, Tensor], base: str, fresh: tuple[str, ...]
) -> set[str]:
    """Compare a folder's tensors with those of a model on the meta device.

    Args:
        weights: of the folder.
        expected: names and shapes of the model's tensors.
        base: name of the model without its head, a prefix that a folder's names may lack.
        fresh: how the names start that a folder need not have, or may have in other shapes.

    Returns:
        the number formats of the tensors that will be read.

    Raises:
        ArtifactError: a tensor is missing, has another shape, or is no floating-point number.
    """
    found = {_name(name, expected, base): name for name in weights.shapes}
    for name, tensor in expected.items():
        if name.startswith(fresh):
            continue
        if name not in found:
            raise ArtifactError(f"its weights do not fit its config.json: {name} is missing")
        shape = weights.shapes[found[name]]
        if shape != tuple(tensor.shape):
            raise ArtifactError(
                f"its weights do not fit its config.json: {name} has shape {list(shape)}, not "
                f"{list(tensor.shape)}"
            )
    formats = {weights.dtypes[found[name]] for name in expected if name in found}
    odd = sorted(formats - _FLOATS.keys())
    if odd:
        raise ArtifactError(
            f"its weights are {', '.join(odd)}; bmc reads floating-point weights (a quantized "
            "model's original)"
        )
    return {_FLOATS[name] for name in formats}


def expected_of(model_type: Any, config: Any) -> dict[str, Tensor]:
    """Return the tensors of a model, by name, without memory for their values."""
    with torch.device("meta"):
        state: dict[str, Tensor] = model_type(config).state_dict()
    return state


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """Return the files of a folder's weights, and the tensors that its index expects of each."""
    if (folder / SINGLE).is_file():
        return {folder / SINGLE: None}
    index = folder / INDEX
    if not index.is_file():
        raise ArtifactError(
            f"{folder} has no {SINGLE} (pickled weights are not read); convert it: "
            "AutoModel.from_pretrained(...).save_pretrained(...)"
        )
    content = read_json(index, "Hugging Face model folder", links=True, max_bytes=_MOST_BYTES)
    listed = content.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ArtifactError(f"{index} has no weight_map; save the model again")
    files: dict[Path, set[str] | None] = {}
    by_file: dict[str, set[str]] = {}
    for name, file in listed.items():
        if not isinstance(file, str) or not file.endswith(".safetensors"):
            raise ArtifactError(f"{index}: {name!r:.80} lies in {file!r:.80}, no safetensors file")
        by_file.setdefault(file, set()).add(name)
    if len(by_file) > _MOST_SHARDS:
        raise ArtifactError(f"{index} names {len(by_file)} files; bmc reads up to {_MOST_SHARDS}")
    for file, names in by_file.items():
        if "/" in file or "\\" in file or not file.isprintable():
            raise ArtifactError(f"{index} names {file!r:.80}, which leaves its folder; refused")
        if not (folder / file).is_file():
            raise ArtifactError(f"{folder} lacks {file}, which its index names; copy it there")
        files[folder / file] = names
    return files


def _name(name: str, expected: Mapping[str, Tensor], base: str) -> str:
    """Return a tensor's name in the model: old ones say gamma and beta, some lack the base."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    name = name.replace("LayerNorm.beta", "LayerNorm.bias")
    return name if name in expected else f"{base}.{name}"
