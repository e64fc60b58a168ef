"""Read and write bundles, the folders that `bmc export` writes and a device loads; needs no torch.

manifest.json     target, tensors, labels, preprocessing, lineage, parity, scores, sha256 of files
the model         a file or folder in the target's format
tokenizer.json    the tokenizer of a text model
golden.npz        a few input tensors, and the outputs they had at the export
golden.json       the raw rows of these inputs, and their labels
README.md         what the manifest says, for people
ranges.npz        of sentence embeddings, least and largest value of each number of the vectors
evaluation.npz    the outputs on the held-out rows, from which the scores were computed

The folder may be packed into one file; see `bmc.packed`. A bundle is untrusted: bmc checks sizes
and ranges before it reads anything large, and opens only regular files that the manifest lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import golden as goldens
from bmc import inputs as input_kinds
from bmc import packed
from bmc.arrays import MAX_BYTES, parse_arrays
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
from bmc.packed import Archive
from bmc.untrusted import MAX_JSON, parse_json, read_bytes, read_json

MANIFEST = "manifest.json"
GOLDEN = goldens.ARRAYS
EVALUATION = "evaluation.npz"
RANGES = "ranges.npz"
CARD = "README.md"
_WHAT = "bundle"
_MODEL_DIRECTORY = "bmc.json"
_MOBILE_SUFFIX = ".ort"  # by which ONNX Runtime tells its own format, of a file that names no other


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, with its checked manifest.

    Args:
        path: the bundle's folder; of a packed bundle the file.
        manifest: the content of manifest.json.
        files: sha256 of each listed file, by name; empty while the bundle is being written.
        uncovered: sentences on the parts of an older bundle that have no hash or no golden rows.
        archive: the files of a packed bundle; None for a folder.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, str] = field(default_factory=dict)
    uncovered: tuple[str, ...] = ()
    archive: Archive | None = None

    @property
    def model_path(self) -> Path:
        """The path of the model's file or folder."""
        return checked_path(self.path, self.manifest.model, _WHAT)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that turns raw rows into the model's inputs, as in training."""
        return input_kinds.load(self.manifest.preprocessing, self.archive or self.path)

    @cached_property
    def runs_from_memory(self) -> bool:
        """Whether the runtime loads the model of this packed bundle without files.

        Raises:
            ArtifactError: the model is not a file of the target's format.
        """
        check = format_of(self.manifest.target).packed
        return check is not None and check(self.read_file, self.manifest.model)

    def in_mobile_format(self) -> Bundle | None:
        """Return the bundle with its model for ONNX Runtime Mobile in place of its model.

        Returns:
            None for a bundle without such a model; see `bmc export --mobile`.

        Raises:
            ArtifactError: the manifest does not list the model's file, or the file is of another
                format, which may name further files.
        """
        mobile = self.manifest.build.get("mobile")
        if mobile is None:
            return None
        name = mobile.get("model")
        if not str(name).endswith(_MOBILE_SUFFIX):
            raise ArtifactError(
                f"bundle {self.path}: its model for mobile devices, {name!r:.60}, is not a "
                f"{_MOBILE_SUFFIX} file; export it again"
            )
        if name not in self.files:
            raise ArtifactError(
                f"bundle {self.path}: its model for mobile devices, {name!r:.60}, has no recorded "
                "sha256; export it again"
            )
        return replace(self, manifest=replace(self.manifest, model=name))

    def read_file(self, name: str) -> bytes:
        """Return the content of a listed file of a packed bundle.

        Raises:
            ArtifactError: there is no such file, or the bundle was changed since it was read.
        """
        return self._read(name, MAX_BYTES if self.archive is None else packed.MAX_BYTES)

    def golden(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return the golden inputs, and the outputs that they had at the export, by name.

        Raises:
            ArtifactError: golden.npz is damaged, or does not hold the tensors in the manifest.
        """
        arrays = self._arrays(GOLDEN)
        manifest = self.manifest
        return (
            goldens.tensors_of(arrays, "input", manifest.inputs, self.path),
            goldens.tensors_of(arrays, "output", manifest.outputs, self.path),
        )

    def golden_rows(self) -> GoldenRows | None:
        """Return the raw golden rows; None in bundles of versions that did not write them.

        Raises:
            ArtifactError: golden.json or golden.npz is damaged.
        """
        if goldens.ROWS not in self.files:
            return None
        content = parse_json(self._read(goldens.ROWS, MAX_BYTES), self.path / goldens.ROWS)
        return goldens.rows_of(content, self._arrays(GOLDEN), self.path)

    def ranges(self) -> NDArray[np.float32] | None:
        """Return the least and the largest value of each number of the vectors, (2, width).

        Bundles of other tasks have none.

        Raises:
            ArtifactError: ranges.npz is damaged.
        """
        if RANGES not in self.files:
            return None
        ranges = self._arrays(RANGES).get("ranges")
        if ranges is None or ranges.shape != (2, *self.manifest.outputs[0].shape[1:]):
            raise ArtifactError(f"bundle {self.path}: {RANGES} has no ranges; export it again")
        return ranges.astype(np.float32)

    def evaluation(self) -> dict[str, NDArray[Any]] | None:
        """Return the outputs for the held-out rows, and their labels; None where there are none.

        Raises:
            ArtifactError: evaluation.npz is damaged.
        """
        names = self.files or {path.name for path in self.path.iterdir()}  # old ones list none
        return self._arrays(EVALUATION) if EVALUATION in names else None

    def model_size(self) -> int:
        """Return the size of the model's files in bytes, without tokenizer and golden rows."""
        parts = format_of(self.manifest.target).parts
        names = parts(self.manifest.model) if parts else (self.manifest.model,)
        beside = f"{self.manifest.model}.data"  # where large weights of an ONNX file are
        if beside in self.files:
            names = (*names, beside)
        if self.archive is not None:
            return sum(self.archive.size_of(name) for name in names)
        return sum(size_of(checked_path(self.path, name, _WHAT)) for name in names)

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        return parse_arrays(self._read(name, MAX_BYTES), self.path / name)

    def _read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's content, and check the hash of exactly these bytes.

        The file may have changed since `read` checked its hash.
        """
        if self.archive is not None:
            data = self.archive.read(name, max_bytes)
        else:
            data = read_bytes(self.path / name, f"bundle {self.path}", max_bytes)
        if self.files and hashlib.sha256(data).hexdigest() != self.files[name]:
            raise ArtifactError(f"bundle {self.path}: {name!r} was changed while it was read")
        return data


def write(folder: Path, manifest: Manifest, names: Collection[str] | None = None) -> None:
    """Write README.md, then manifest.json in one step, with the hashes of all files in `folder`.

    Args:
        folder: the bundle's folder.
        manifest: the content to write.
        names: names of the files to list; all files in the folder when None. README.md is written
            if it is among them.
    """
    from bmc import cards  # noqa: PLC0415  a device that loads a bundle writes none
    from bmc.writing import write_atomically  # noqa: PLC0415

    if names is None or CARD in names:
        weights = f"{manifest.model}.data"
        files = {weights: ""} if (folder / weights).is_file() else {}
        text = cards.readme(manifest, Bundle(folder, manifest, files).model_size())
        write_atomically(folder / CARD, text.encode())
    hashes, sizes = measure_files(folder, MANIFEST, _WHAT, names)
    content = {"schema": SCHEMA, **asdict(manifest), "files": hashes, "sizes": sizes}
    if not manifest.thresholds:
        del content["thresholds"]  # of other tasks
    if manifest.reject_below is None:
        del content["reject_below"]
    # The digest covers the content as a reader parses it: tuples are lists there.
    content = json.loads(json.dumps(content, allow_nan=False))
    text = json.dumps({**content, DIGEST: digest_of(content)}, indent=2)
    write_atomically(folder / MANIFEST, (text + "\n").encode())


def read(path: Path) -> Bundle:
    """Read a bundle and check every file against its recorded sha256.

    Args:
        path: the bundle's folder, or the file of a packed bundle.

    Raises:
        ArtifactError: the folder is not a bundle, is damaged, has a newer schema, or names a path
            outside the folder.
    """
    archive = packed.open_archive(path) if packed.is_packed(path) else None
    content = _content(path, archive)
    files, sizes = _listed(content, path)
    if archive is not None:
        archive.check(files, sizes)
    else:
        check_files(path, files, _WHAT, sizes)
    try:
        manifest = parse(content)
    except KeyError as error:
        raise ArtifactError(f"{path}/{MANIFEST} lacks {error}; export the bundle again") from error
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path}/{MANIFEST}: {error}; export the bundle again") from error
    uncovered = []
    if DIGEST not in content:
        uncovered.append("no hash covers its manifest")
    if goldens.ROWS not in files:
        uncovered.append("it has no raw golden rows, which would prove its preprocessing")
    bundle = Bundle(path, manifest, files, tuple(uncovered), archive)
    _check_listed(bundle, _format(manifest, path))
    return bundle


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an .npz file of numeric arrays; pickled objects are refused.

    Raises:
        ArtifactError: the file is not such a file, or its arrays take more than 512 MiB.
    """
    return parse_arrays(read_bytes(path, _WHAT, MAX_BYTES), path)


def _content(path: Path, archive: Archive | None) -> dict[str, Any]:
    """Read manifest.json, and check its schema and its digest."""
    if archive is None and path.exists() and not path.is_dir():
        raise ArtifactError(
            f"{path} is a file; a bundle is the folder that `bmc export` wrote, or the "
            f"{packed.SUFFIX} file that `bmc pack` wrote"
        )
    if (path / _MODEL_DIRECTORY).exists() and not (path / MANIFEST).exists():
        raise ArtifactError(
            f"{path} is not a bundle: it has no {MANIFEST}. It is a model directory; "
            f"bmc export {path} --target onnx makes a bundle of it"
        )
    if archive is not None:
        content = parse_json(archive.read(MANIFEST, MAX_JSON), path / MANIFEST)
    else:
        content = read_json(path / MANIFEST, _WHAT)
    schema = content.get("schema")
    if type(schema) is not int or schema < 1:
        raise ArtifactError(f"{path}/{MANIFEST} has no schema number; it was not written by bmc")
    if schema > SCHEMA:
        raise ArtifactError(
            f"bundle {path} has schema {schema}, this bmc reads up to {SCHEMA}: "
            "pip install --upgrade bmc-toolkit"
        )
    # Older bundles have neither sizes nor a digest.
    has_digest = DIGEST in content or "sizes" in content
    if has_digest and content.get(DIGEST) != digest_of(content):
        raise ArtifactError(
            f"bundle {path}: {MANIFEST} was changed (its content does not have the recorded "
            "sha256); export it again"
        )
    return content


def _listed(content: Mapping[str, Any], path: Path) -> tuple[dict[str, str], dict[str, int] | None]:
    """Return the recorded hashes of all files, and their sizes (None in older bundles)."""
    files, sizes = content.get("files"), content.get("sizes")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise ArtifactError(f"{path}/{MANIFEST} lacks its list of files; export the bundle again")
    if "sizes" not in content and DIGEST not in content:
        return files, None
    are_integers = isinstance(sizes, dict) and all(type(size) is int for size in sizes.values())
    if not isinstance(sizes, dict) or not are_integers or sizes.keys() != files.keys():
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


def _check_listed(bundle: Bundle, model_format: Format) -> None:
    """Check that the manifest lists every file that loading the bundle opens."""
    path, manifest, files = bundle.path, bundle.manifest, bundle.files
    model = manifest.model
    if not any((name + "/").startswith(model + "/") for name in files):
        if checked_path(path, model, _WHAT).exists():
            raise ArtifactError(f"bundle {path}: its model {model!r} has no recorded sha256")
        raise ArtifactError(f"bundle {path} lacks its model {model!r}; export it again")
    tokenizer = ["tokenizer.json"] * (manifest.preprocessing.get("kind") in ("text", "words"))
    for name in (*tokenizer, GOLDEN):
        if name not in files:
            raise ArtifactError(f"bundle {path} lacks {name}; export it again")
    if bundle.archive is not None:
        _ = bundle.runs_from_memory  # checks the model; one that needs files is checked there
        return
    for name in model_format.files(path, model):
        if name not in files:
            raise ArtifactError(
                f"bundle {path}: loading its model opens {name!r:.80}, which the manifest does not "
                "list; export it again"
            )
    if model_format.check is not None:
        model_format.check(path, model)
