"""Bundles: what `bmc export` writes and a device loads; read with numpy alone.

manifest.json     target, tensors, labels, preprocessing, lineage, parity, scores, all files' sha256
the model         in its target's format
tokenizer.json    turns raw text into tensors (for text)
golden.npz        a few inputs, and the outputs they had when the bundle was made
evaluation.npz    the outputs on the held-out rows, from which the scores were computed
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bmc import inputs as kinds_of_input
from bmc import plugins
from bmc.errors import ArtifactError
from bmc.files import check_files, inside, read_json, sha256_of_folder, size_of, write_json
from bmc.inputs import Encoder, TensorInfo

SCHEMA = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
EVALUATION = "evaluation.npz"
_WHAT = "bundle"
_TASKS = ("classification", "regression", "generation")
T = TypeVar("T")
_UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Args:
        name: the model's name, as reports show it.
        target: the run time that loads it.
        precision: "fp32", or what the weights and activations are.
        model: the model's file (or folder) in the bundle.
        inputs: tensors that the model takes.
        outputs: tensors that it returns.
        labels: class names, in the order of the outputs; empty where there are no classes.
        task: "classification", "regression" or "generation".
        preprocessing: how raw rows become the inputs: a kind of bmc/inputs, and its settings.
        lineage: the model directory it came from: name, weights' sha256, data, steps, teacher.
        parity: how far its outputs are from the model's in PyTorch.
        scores: on the held-out rows, computed by this bundle; empty where it could not run.
        build: how it was made: versions, opset, engine details.
    """

    name: str
    target: str
    precision: str
    model: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    labels: tuple[str, ...]
    task: str
    preprocessing: dict[str, Any]
    lineage: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its manifest checked."""

    path: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """Where the model's file or folder is."""
        return inside(self.path, self.manifest.model, _WHAT)

    @cached_property
    def encoder(self) -> Encoder:
        """What turns raw rows into the inputs, as it did in training."""
        return kinds_of_input.load(self.manifest.preprocessing, self.path)

    def golden(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return the golden inputs and the outputs that they had."""
        arrays = read_arrays(self.path / GOLDEN)
        inputs = {info.name: arrays.get(f"input.{info.name}") for info in self.manifest.inputs}
        outputs = {info.name: arrays.get(f"output.{info.name}") for info in self.manifest.outputs}
        for name, array in (inputs | outputs).items():
            if array is None:
                raise ArtifactError(f"bundle {self.path}: {GOLDEN} has no tensor {name!r}")
        return (
            {name: array for name, array in inputs.items() if array is not None},
            {name: array for name, array in outputs.items() if array is not None},
        )

    def model_size(self) -> int:
        """Return the bytes of the model in its target's format, without tokenizer and proofs."""
        parts = [self.model_path]
        if self.manifest.target == "openvino":
            parts.append(self.model_path.with_suffix(".bin"))
        return sum(size_of(part) for part in parts)


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest over the files that lie in `folder` already."""
    content = asdict(manifest)
    files = sha256_of_folder(folder, leave_out=MANIFEST)
    write_json(folder / MANIFEST, {"schema": SCHEMA, **content, "files": files})


def read(path: Path) -> Bundle:
    """Read a bundle and check every file against its recorded sha256.

    Raises:
        ArtifactError: it is no bundle, too new, damaged, or names a path outside its folder.
    """
    content = read_json(path / MANIFEST, _WHAT)
    schema = content.get("schema")
    if type(schema) is not int or schema < 1:
        raise ArtifactError(f"{path}/{MANIFEST} has no schema number; it was not written by bmc")
    if schema > SCHEMA:
        raise ArtifactError(
            f"bundle {path} has schema {schema}, this bmc reads up to {SCHEMA}: "
            "pip install --upgrade bmc-toolkit"
        )
    files = content.get("files")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise ArtifactError(f"{path}/{MANIFEST} lacks its list of files; export the bundle again")
    check_files(path, files, _WHAT)
    manifest = _manifest(content, path)
    known = plugins.names("bmc.targets")
    if manifest.target not in known:
        raise ArtifactError(
            f"bundle {path} is for the target {manifest.target!r}; this bmc knows "
            f"{', '.join(known)}: pip install --upgrade bmc-toolkit"
        )
    listed = [name for name in files if (name + "/").startswith(manifest.model + "/")]
    if not listed and inside(path, manifest.model, _WHAT).exists():
        raise ArtifactError(f"bundle {path}: its model {manifest.model!r} has no recorded sha256")
    weights = [Path(manifest.model).with_suffix(".bin").name] * (manifest.target == "openvino")
    tokenizer = ["tokenizer.json"] * (manifest.preprocessing.get("kind") == "text")
    for name in (*tokenizer, GOLDEN, *weights):
        if name not in files:
            raise ArtifactError(f"bundle {path} lacks {name}; export it again")
    if not listed:
        raise ArtifactError(f"bundle {path} lacks its model {manifest.model!r}; export it again")
    return Bundle(path, manifest)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an .npz of plain arrays; pickled objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _UNREADABLE as error:
        raise ArtifactError(f"{path} is no file of plain arrays: {error}") from error


def write_golden(
    path: Path, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]
) -> None:
    """Write golden inputs and outputs."""
    arrays: dict[str, NDArray[Any]] = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"output.{name}": array for name, array in outputs.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes a bool too


def _manifest(content: Mapping[str, Any], path: Path) -> Manifest:
    try:
        name, target, precision, model = (
            _a(str, content[key]) for key in ("name", "target", "precision", "model")
        )
        labels = tuple(_a(str, label) for label in _a(list, content["labels"]))
        inputs, outputs = (_tensors(content[key]) for key in ("inputs", "outputs"))
        lineage, parity, scores, build = (
            _a(dict, content[key]) for key in ("lineage", "parity", "scores", "build")
        )
        task, preprocessing = _a(str, content["task"]), _a(dict, content["preprocessing"])
        if task not in _TASKS:
            raise ValueError(f"the task is {task!r:.60}; possible: {', '.join(_TASKS)}")
        if task == "classification":
            _distinct("labels", labels)
        _distinct("inputs", [info.name for info in inputs])
        _distinct("outputs", [info.name for info in outputs])
        if task == "classification" and outputs[0].shape[-1:] != (len(labels),):
            raise ValueError(f"{len(labels)} labels for outputs of shape {outputs[0].shape}")
    except KeyError as error:
        raise ArtifactError(f"{path}/{MANIFEST} lacks {error}; export the bundle again") from error
    except (TypeError, ValueError, ArtifactError) as error:
        raise ArtifactError(f"{path}/{MANIFEST}: {error}; export the bundle again") from error
    inside(path, model, _WHAT)
    return Manifest(
        name,
        target,
        precision,
        model,
        inputs,
        outputs,
        labels,
        task,
        preprocessing,
        lineage,
        parity,
        scores,
        build,
    )


def _tensors(entries: Any) -> tuple[TensorInfo, ...]:
    found = []
    for entry in _a(list, entries):
        name, dtype = (_a(str, _a(dict, entry)[key]) for key in ("name", "dtype"))
        shape = _a(list, entry["shape"])
        if not all(type(size) in (int, str) for size in shape):
            raise TypeError(f"{name!r:.60} has sizes that are neither numbers nor names")
        found.append(TensorInfo(name, np.dtype(dtype).name, tuple(shape)))
    return tuple(found)


def _a(kind: type[T], value: Any) -> T:
    """Return a JSON value of this very kind (True is no number), or refuse it."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.60} where a {kind.__name__} belongs")
    return value


def _distinct(what: str, names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{what} are missing, or stand there twice")
