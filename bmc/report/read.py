"""Read the bundles of a workspace for a report; list the bundles that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import workspace
from bmc.bundle import Bundle
from bmc.contracts.tasks import EMBEDDING, Scoring, task
from bmc.errors import ArtifactError, BmcError

_FAILED = ".failed"
# Members of a lineage that a report reads; a bundle is untrusted, so each of them is checked.
_LINEAGE: Mapping[str, tuple[type, ...]] = {
    "parameters": (int,),
    "data": (dict, type(None)),
    "steps": (list, type(None)),
    "teacher": (dict, type(None)),
    "from": (str, type(None)),
    "from_sha256": (str, type(None)),
    "weights_sha256": (str, type(None)),
    "odd_widths": (list, type(None)),
    "sparsity": (float, int, type(None)),
    "compressed": (dict, type(None)),
}
_PACKED = ("of_bytes", "bytes", "by")


@dataclass(frozen=True)
class Evaluated:
    """A bundle with its predictions for the held-out rows.

    Args:
        bundle: the bundle.
        outputs: float (rows, classes or 1); None where it has none.
        labels: classes or numbers (rows), likewise.
    """

    bundle: Bundle
    outputs: NDArray[Any] | None
    labels: NDArray[Any] | None


def read_all(
    folders: Sequence[Path] | None = None,
) -> tuple[list[Evaluated], dict[str, str]]:
    """Read bundles and their evaluations.

    Args:
        folders: folders of the bundles; when None, all bundles of the workspace that did not fail.

    Returns:
        those that can be read; the others' names, each with the reason.
    """
    return _each(workspace.entries("bundle") if folders is None else folders, evaluated)


def read_failed() -> tuple[list[Bundle], dict[str, str]]:
    """Read the bundles that failed a check, except those that were exported again with success."""
    paths = [path for path in workspace.entries("bundle", failed=True) if not _is_obsolete(path)]
    return _each(paths, checked)


def evaluated(path: Path) -> Evaluated:
    """Read a bundle and its evaluation.

    Raises:
        ArtifactError: it is damaged, or what a report reads of it is malformed.
    """
    bundle = checked(path)
    arrays = bundle.evaluation()
    if arrays is None:
        return Evaluated(bundle, None, None)
    file = path / bundles.EVALUATION
    outputs, labels = arrays.get("logits"), arrays.get("labels")
    if outputs is None or labels is None:
        raise ArtifactError(f"{file} has no logits or no labels; export the bundle again")
    scoring = task(bundle.manifest.task).scoring
    if scoring:
        _check_scorable(outputs, labels, bundle, file, scoring)
    return Evaluated(bundle, outputs, labels)


def checked(path: Path) -> Bundle:
    """Read a bundle whose lineage is as `bmc export` writes it.

    Raises:
        ArtifactError: it is damaged, or something of it is malformed.
    """
    bundle = bundles.read(path)
    lineage, build = bundle.manifest.lineage, bundle.manifest.build
    for key, kinds in _LINEAGE.items():
        if type(lineage.get(key, 0 if key == "parameters" else None)) not in kinds:
            raise _malformed(path, f"lineage.{key}", lineage.get(key))
    teacher, packed, nodes = lineage.get("teacher"), lineage.get("compressed"), build.get("nodes")
    if teacher and not all(isinstance(teacher.get(key), str) for key in ("name", "sha256")):
        raise _malformed(path, "lineage.teacher", teacher)
    if packed and not all(isinstance(packed.get(key), int | str) for key in _PACKED):
        raise _malformed(path, "lineage.compressed", packed)
    if not all(isinstance(width, int) for width in lineage.get("odd_widths") or ()):
        raise _malformed(path, "lineage.odd_widths", lineage.get("odd_widths"))
    if nodes and not (
        isinstance(nodes, dict) and all(isinstance(count, int) for count in nodes.values())
    ):
        raise _malformed(path, "build.nodes", nodes)
    return bundle


def _check_scorable(
    outputs: NDArray[Any], labels: NDArray[Any], bundle: Bundle, file: Path, scoring: Scoring
) -> None:
    """Check that outputs can be scored: one row for each label, and labels among the classes.

    Raises:
        ArtifactError: they cannot.
    """
    width = max(len(bundle.manifest.labels), 1)
    if bundle.manifest.task == EMBEDDING:
        width = int(bundle.manifest.outputs[0].shape[1])
    if outputs.dtype.kind != "f" or outputs.shape != (len(labels), width) or not len(labels):
        raise ArtifactError(f"{file}: logits are {outputs.dtype} {outputs.shape}; export it again")
    if not np.isfinite(outputs).all() or not scoring.scorable(labels, len(bundle.manifest.labels)):
        raise ArtifactError(f"{file}: its logits or labels cannot be scored; export it again")


def _malformed(path: Path, what: str, value: object) -> ArtifactError:
    return ArtifactError(f"bundle {path}: {what} is {value!r:.60}; export it again")


def _is_obsolete(path: Path) -> bool:
    """Tell whether the verb succeeded under the name of a failure since then."""
    success = path.with_name(path.name.removesuffix(_FAILED)) / bundles.MANIFEST
    if not success.is_file():
        return False
    return success.stat().st_mtime_ns >= (path / bundles.MANIFEST).stat().st_mtime_ns


def _each(paths: Sequence[Path], read: Any) -> tuple[list[Any], dict[str, str]]:
    readable, broken = [], {}
    for path in paths:
        try:
            readable.append(read(path))
        except (BmcError, OSError) as error:
            broken[path.name] = str(error)
    return readable, broken
