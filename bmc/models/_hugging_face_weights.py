"""Find the weights of a Hugging Face folder, and check that they fit a model."""

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
_MAX_SHARDS = 1_000
_MAX_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Weights:
    """The tensors of a folder, before their values are read.

    Args:
        files: file of each tensor, by name.
        shapes: shape of each tensor, by name.
        dtypes: dtype of each tensor in the notation of safetensors, by name.
    """

    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]

    def read(self, name: str) -> Tensor:
        """Read a tensor, converted to fp32."""
        with safe_open(self.files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor.float()


def weights_of(folder: Path) -> Weights:
    """Read the headers of a folder's safetensors files: one file, or the files in its index.

    Raises:
        ArtifactError: there are no such files, the index names files elsewhere, or a file is
            damaged.
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
        in_file = set(header.shapes)
        for name in in_file if names is None else names & in_file:
            files[name] = path
            shapes[name], dtypes[name] = header.shapes[name], header.dtypes[name]
        missing = sorted((names or set()) - in_file)
        if missing:
            raise ArtifactError(f"{path} lacks {missing[0]!r:.80}, which {INDEX} lists for it")
    return Weights(files, shapes, dtypes)


def check_fit(
    weights: Weights, expected: Mapping[str, Tensor], base: str, fresh: tuple[str, ...]
) -> set[str]:
    """Compare a folder's tensors with those of a model on the meta device.

    Args:
        weights: weights of the folder.
        expected: the model's tensors on the meta device, by name.
        base: attribute of the model without its head, a prefix that the folder's names may lack.
        fresh: prefixes of the names of optional tensors, which may be missing or have other shapes.

    Returns:
        the dtypes of the tensors that will be read.

    Raises:
        ArtifactError: a tensor is missing, has another shape, or is not of floating-point numbers.
    """
    folder_names = {_name(name, expected, base): name for name in weights.shapes}
    for name, tensor in expected.items():
        if name.startswith(fresh):
            continue
        if name not in folder_names:
            raise ArtifactError(f"its weights do not fit its config.json: {name} is missing")
        shape = weights.shapes[folder_names[name]]
        if shape != tuple(tensor.shape):
            raise ArtifactError(
                f"its weights do not fit its config.json: {name} has shape {list(shape)}, not "
                f"{list(tensor.shape)}"
            )
    dtypes = {weights.dtypes[folder_names[name]] for name in expected if name in folder_names}
    unsupported = sorted(dtypes - _FLOATS.keys())
    if unsupported:
        raise ArtifactError(
            f"its weights are {', '.join(unsupported)}; bmc reads floating-point weights (a "
            "quantized model's original)"
        )
    return {_FLOATS[name] for name in dtypes}


def expected_of(model_type: Any, config: Any) -> dict[str, Tensor]:
    """Return the tensors of a model on the meta device, which allocates no values, by name."""
    with torch.device("meta"):
        state: dict[str, Tensor] = model_type(config).state_dict()
    return state


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """Return the weight files of a folder, with the names of their tensors; None without index."""
    if (folder / SINGLE).is_file():
        return {folder / SINGLE: None}
    index = folder / INDEX
    if not index.is_file():
        raise ArtifactError(
            f"{folder} has no {SINGLE} (pickled weights are not read); convert it: "
            "AutoModel.from_pretrained(...).save_pretrained(...)"
        )
    content = read_json(index, "Hugging Face model folder", links=True, max_bytes=_MAX_BYTES)
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ArtifactError(f"{index} has no weight_map; save the model again")
    files: dict[Path, set[str] | None] = {}
    by_file: dict[str, set[str]] = {}
    for name, file in weight_map.items():
        if not isinstance(file, str) or not file.endswith(".safetensors"):
            raise ArtifactError(
                f"{index}: {name!r:.80} lies in {file!r:.80}, which is not a safetensors file"
            )
        by_file.setdefault(file, set()).add(name)
    if len(by_file) > _MAX_SHARDS:
        raise ArtifactError(f"{index} names {len(by_file)} files; bmc reads up to {_MAX_SHARDS}")
    for file, names in by_file.items():
        if "/" in file or "\\" in file or not file.isprintable():
            raise ArtifactError(f"{index} names {file!r:.80}, which leaves its folder; refused")
        if not (folder / file).is_file():
            raise ArtifactError(f"{folder} lacks {file}, which its index names; copy it there")
        files[folder / file] = names
    return files


def _name(name: str, expected: Mapping[str, Tensor], base: str) -> str:
    """Return a tensor's name in the model: old folders say gamma and beta, or lack the base."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    name = name.replace("LayerNorm.beta", "LayerNorm.bias")
    return name if name in expected else f"{base}.{name}"
