"""A model directory as a student: what it is taught starts from its weights, with all its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bmc import artifact, workspace
from bmc.contracts import Family, families
from bmc.data import Dataset
from bmc.errors import BmcError, UsageError
from bmc.inference.form import is_quantized
from bmc.inference.scripted import refuse_scripted
from bmc.inputs import kind_of_rows
from bmc.model import Model
from bmc.workflows import lineage
from bmc.workflows.baselines import Chosen
from bmc.workflows.settings import settings_from
from bmc.workflows.teachers import refuse_other_features

_BUILT = ("student", "student_settings", "baseline", "options")  # the records of what was built
_SLOWER = 0.5  # weights that were trained already want the rate of the end rather than the start


@dataclass(frozen=True)
class AsTrained:
    """A model directory has no settings: its structure is what it is."""


def find(reference: str) -> Path | None:
    """Find a student's model directory, by path or by its name in the workspace; None if none is.

    Raises:
        UsageError: the folder is a bundle.
    """
    for path in workspace.candidates(reference):
        kind = workspace.kind_of(path)
        if kind == "bundle":
            raise UsageError(
                f"the student {path} is a bundle, which cannot be trained: name the model "
                "directory that it was exported from"
            )
        if kind == "model":
            return path
    return None


def choose(reference: str, options: Mapping[str, Any]) -> Chosen:
    """Describe a model directory as a student.

    Args:
        reference: path of the model directory.
        options: settings of the student, of which it has none.

    Raises:
        UnknownError: a setting was named.
        ArtifactError: the directory is damaged.
    """
    manifest = artifact.describe(Path(reference))
    family = families.family(manifest["family"], manifest.get("plugins"))
    origin = manifest["origin"]
    built = _built(origin)
    name = str(built.get("student") or built.get("baseline") or "")
    recipe = families.recipe_of(family, name, _recorded(family, built), taught=True)
    recipe = family.recipes.get(str(manifest["inputs"].get("kind")), recipe)
    return Chosen(
        reference,
        family,
        families.network(manifest["family"]),
        AsTrained(**settings_from(AsTrained, options, reference)),
        replace(recipe, learning_rate=recipe.learning_rate * _SLOWER),
    )


def _built(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model was built as: itself, or the first one from which it was taught on."""
    start = origin.get("start")
    built = start.get("built") if isinstance(start, dict) else None
    if isinstance(built, dict) and built:
        return built
    return {key: origin[key] for key in _BUILT if key in origin}


def _recorded(family: Family, built: Mapping[str, Any]) -> Any:
    """Return the recorded settings of a model's network; defaults where they cannot be read.

    Word vectors that a network started from may be gone.
    """
    recorded = built.get("student_settings") or built.get("options") or {}
    try:
        return family.settings(**recorded)
    except (BmcError, TypeError, ValueError):
        return family.settings()


def load(chosen: Chosen, data: Dataset) -> Model:
    """Load a student, and check that it can be taught and scored on some data.

    Raises:
        UsageError: it is quantized, has another task, other classes or other inputs, or has learned
            rows of the test split.
        ArtifactError: the directory is damaged.
    """
    folder = Path(chosen.reference)
    model = artifact.load(folder)
    refuse_scripted(folder, model.module)
    if is_quantized(model.module):
        raise UsageError(
            f"the student {folder} is quantized, which comes last: distill the model that it was "
            f"made from ({model.origin.get('from')})"
        )
    columns = model.encoder.to_json().get("columns", 1)
    kind = kind_of_rows(model.encoder.kind)
    if kind not in data.kinds:
        _check(folder, "takes", kind, data.kind)
    elif data.features:
        refuse_other_features(f"the student {folder}", model.encoder.to_json(), data)
    _check(folder, "is for", model.task, data.task)
    _check(folder, "predicts", ", ".join(model.labels), ", ".join(data.labels))
    if data.kind == "text":
        _check(folder, "takes", f"{columns} text(s) a row", f"{len(data.columns)} text(s) a row")
    lineage.refuse_learned("student", folder, data)
    return model


def folder_of(chosen: Chosen) -> Path | None:
    """Return the model directory that a student starts from; None for a new network."""
    return Path(chosen.reference) if isinstance(chosen.options, AsTrained) else None


def start_of(chosen: Chosen) -> dict[str, Any]:
    """Return what bmc.json says of the model directory that a student starts from."""
    if not isinstance(chosen.options, AsTrained):
        return {}
    folder = Path(chosen.reference)
    start = {"name": folder.name, "sha256": lineage.weights_sha256(folder)}
    return {"start": {**start, "built": _built(artifact.describe(folder)["origin"])}}


def learned_from(chosen: Chosen) -> dict[str, Any] | None:
    """Return the data that a model directory has learned from, as a teacher's record names it."""
    if not isinstance(chosen.options, AsTrained):
        return None
    return {"data": lineage.learned_from(artifact.describe(Path(chosen.reference)))}


def _check(folder: Path, verb: str, mine: str, theirs: str) -> None:
    """Refuse a student that does not fit the data."""
    if mine != theirs:
        raise UsageError(
            f"the student {folder} {verb} {mine or 'numbers'}; the data here has "
            f"{theirs or 'numbers'}: train a student on this data, or name another one"
        )
