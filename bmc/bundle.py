"""Bundles: what `bmc export` writes and a device loads; read with numpy alone.

manifest.json     target, tensors, labels, preprocessing, lineage, parity, scores, all files' sha256
the model         in its target's format
tokenizer.json    turns raw text into tensors (for text)
golden.npz        a few inputs, and the outputs they had when the bundle was made
golden.json       the raw rows that these were made of, and their labels
evaluation.npz    the outputs on the held-out rows, from which the scores were computed

A bundle is data from a stranger: sizes and ranges are checked before anything large is read, and
nothing but regular files that the manifest lists is opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bmc import golden as goldens
from bmc import inputs as kinds_of_input
from bmc.arrays import MOST_BYTES, parse_arrays
from bmc.checksums import check_files, checked_path, measure_files
from bmc.contracts import Format
from bmc.contracts.targets import TARGETS, format_of
from bmc.errors import ArtifactError, UnknownError
from bmc.files import size_of
from bmc.golden import GoldenRows
from bmc.golden import write_golden as write_golden
from bmc.inputs import Encoder
from bmc.inputs import TensorInfo as TensorInfo
from bmc.manifest import DIGEST, digest_of, parse
from bmc.manifest import SCHEMA as SCHEMA
from bmc.manifest import Manifest as Manifest
from bmc.untrusted import parse_json, read_bytes, read_json
from bmc.writing import write_atomically

MANIFEST = "manifest.json"
GOLDEN = goldens.ARRAYS
EVALUATION = "evaluation.npz"
_WHAT = "bundle"
_MODEL_DIRECTORY = "bmc.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its manifest checked.

    Args:
        path: its folder.
        manifest: what it says of itself.
        files: sha256 of each listed file; empty while it is being made.
        uncovered: what no hash or golden row covers, as older bundles lack some.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, str] = field(default_factory=dict)
    uncovered: tuple[str, ...] = ()

    @property
    def model_path(self) -> Path:
        """Where the model's file or folder is."""
        return checked_path(self.path, self.manifest.model, _WHAT)

    @cached_property
    def encoder(self) -> Encoder:
        """What turns raw rows into the inputs, as it did in training."""
        return kinds_of_input.load(self.manifest.preprocessing, self.path)

    def golden(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return the golden inputs and the outputs that they had.

        Raises:
            ArtifactError: the file is damaged, or holds other tensors than the manifest names.
        """
        arrays = self._arrays(GOLDEN)
        manifest = self.manifest
        return (
            goldens.tensors_of(arrays, "input", manifest.inputs, self.path),
            goldens.tensors_of(arrays, "output", manifest.outputs, self.path),
        )

    def golden_rows(self) -> GoldenRows | None:
        """Return the raw golden rows; None where the bundle is older than they are.

        Raises:
            ArtifactError: a file is damaged.
        """
        if goldens.ROWS not in self.files:
            return None
        content = parse_json(self._read(goldens.ROWS), self.path / goldens.ROWS)
        return goldens.rows_of(content, self._arrays(GOLDEN), self.path)

    def model_size(self) -> int:
        """Return the bytes of the model in its target's format, without tokenizer and proofs."""
        parts = format_of(self.manifest.target).parts
        names = parts(self.manifest.model) if parts else (self.manifest.model,)
        return sum(size_of(checked_path(self.path, name, _WHAT)) for name in names)

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        return parse_arrays(self._read(name), self.path / name)

    def _read(self, name: str) -> bytes:
        """Return a file's content, its hash checked once more: these very bytes are parsed."""
        data = read_bytes(self.path / name, f"bundle {self.path}", MOST_BYTES)
        if self.files and hashlib.sha256(data).hexdigest() != self.files[name]:
            raise ArtifactError(f"bundle {self.path}: {name!r} was changed while it was read")
        return data


def write(folder: Path, manifest: Manifest, names: Iterable[str] | None = None) -> None:
    """Write the manifest over the files that lie in `folder` already, in one step.

    Args:
        folder: the bundle's.
        manifest: what it is to say of itself.
        names: the files to list; all that are there when None.
    """
    hashes, sizes = measure_files(folder, MANIFEST, _WHAT, names)
    content = {"schema": SCHEMA, **asdict(manifest), "files": hashes, "sizes": sizes}
    content = json.loads(json.dumps(content, allow_nan=False))  # the digest is of what is read
    text = json.dumps({**content, DIGEST: digest_of(content)}, indent=2)
    write_atomically(folder / MANIFEST, (text + "\n").encode())


def read(path: Path) -> Bundle:
    """Read a bundle and check every file against its recorded sha256.

    Raises:
        ArtifactError: it is no bundle, too new, damaged, or names a path outside its folder.
    """
    content = _content(path)
    files, sizes = _listed(content, path)
    check_files(path, files, _WHAT, sizes)
    try:
        manifest = parse(content)
    except KeyError as error:
        raise ArtifactError(f"{path}/{MANIFEST} lacks {error}; export the bundle again") from error
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path}/{MANIFEST}: {error}; export the bundle again") from error
    _check_listed(path, manifest, files, _format(manifest, path))
    uncovered = []
    if DIGEST not in content:
        uncovered.append("no hash covers its manifest")
    if goldens.ROWS not in files:
        uncovered.append("it has no raw golden rows, which would prove its preprocessing")
    return Bundle(path, manifest, files, tuple(uncovered))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an .npz of plain arrays within bounds; pickled objects are refused.

    Raises:
        ArtifactError: it is no such file, or would take more than 512 MiB unpacked.
    """
    return parse_arrays(read_bytes(path, _WHAT, MOST_BYTES), path)


def _content(path: Path) -> dict[str, Any]:
    """Read manifest.json; compare its schema and its digest."""
    if path.exists() and not path.is_dir():
        raise ArtifactError(f"{path} is a file; a bundle is the folder that `bmc export` wrote")
    if (path / _MODEL_DIRECTORY).exists() and not (path / MANIFEST).exists():
        raise ArtifactError(
            f"{path} is no bundle: it has no {MANIFEST}. It is a model directory; "
            f"bmc export {path} --target onnx makes a bundle of it"
        )
    content = read_json(path / MANIFEST, _WHAT)
    schema = content.get("schema")
    if type(schema) is not int or schema < 1:
        raise ArtifactError(f"{path}/{MANIFEST} has no schema number; it was not written by bmc")
    if schema > SCHEMA:
        raise ArtifactError(
            f"bundle {path} has schema {schema}, this bmc reads up to {SCHEMA}: "
            "pip install --upgrade bmc-toolkit"
        )
    covered = DIGEST in content or "sizes" in content  # what was written before has neither
    if covered and content.get(DIGEST) != digest_of(content):
        raise ArtifactError(
            f"bundle {path}: {MANIFEST} was changed (its content has another sha256 than it "
            "records); export it again"
        )
    return content


def _listed(content: Mapping[str, Any], path: Path) -> tuple[dict[str, str], dict[str, int] | None]:
    """Return the recorded hashes and, of newer bundles, sizes of all files."""
    files, sizes = content.get("files"), content.get("sizes")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise ArtifactError(f"{path}/{MANIFEST} lacks its list of files; export the bundle again")
    if "sizes" not in content and DIGEST not in content:
        return files, None
    whole = isinstance(sizes, dict) and all(type(size) is int for size in sizes.values())
    if not isinstance(sizes, dict) or not whole or sizes.keys() != files.keys():
        raise ArtifactError(f"{path}/{MANIFEST}: sizes are not those of its files")
    return files, sizes


def _format(manifest: Manifest, path: Path) -> Format:
    """Return the format of a bundle's model.

    Raises:
        ArtifactError: this bmc does not know the target.
        MissingError: the target is a plug-in that is not installed.
    """
    try:
        return format_of(manifest.target, manifest.build.get("plugins"))
    except UnknownError as error:
        raise ArtifactError(
            f"bundle {path} is for the target {manifest.target!r:.60}; this bmc knows "
            f"{', '.join(TARGETS.names())}: pip install --upgrade bmc-toolkit"
        ) from error


def _check_listed(
    path: Path, manifest: Manifest, files: Mapping[str, str], model_format: Format
) -> None:
    """Check that all files which will be opened are listed, the model's own first."""
    model = manifest.model
    if not any((name + "/").startswith(model + "/") for name in files):
        if checked_path(path, model, _WHAT).exists():
            raise ArtifactError(f"bundle {path}: its model {model!r} has no recorded sha256")
        raise ArtifactError(f"bundle {path} lacks its model {model!r}; export it again")
    tokenizer = ["tokenizer.json"] * (manifest.preprocessing.get("kind") == "text")
    for name in (*tokenizer, GOLDEN):
        if name not in files:
            raise ArtifactError(f"bundle {path} lacks {name}; export it again")
    for name in model_format.files(path, model):
        if name not in files:
            raise ArtifactError(
                f"bundle {path}: loading its model opens {name!r:.80}, which the manifest does not "
                "list; export it again"
            )
    if model_format.check is not None:
        model_format.check(path, model)
