"""The floor of a report: simple models of the same data, which show what the networks are worth.

Texts get TF-IDF with a linear model, and hashed n-grams taught by the teacher of the report's
students; images get a linear model and a small convolutional network. Each is a bundle like any
other, in the workspace's cache. A bundle is used again where everything that it was made from is
the same: the data's fingerprint, the teacher's weights, the texts, and this file's recipes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bmc import bundle as bundles
from bmc import console, locks, plugins, targets, workspace
from bmc.bundle import Bundle
from bmc.description import describe
from bmc.errors import ArtifactError, BmcError, DataError, MissingError
from bmc.report.floor import Floor
from bmc.report.read import Evaluated
from bmc.report.reference import key_of

_VERSION = 1  # of the recipes in floor_training.py: other recipes make other bundles
_TARGETS = ("onnx", "openvino", "pytorch")
_MODELS = {"text": ("tfidf", "ngram"), "image": ("linear", "cnn")}
_KINDS = {"text": "text", "ngram": "text", "image": "image"}  # of what bundles read
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class FloorPlan:
    """A simple model to make.

    Args:
        model: "tfidf", "ngram", "linear" or "cnn".
        name: the name of its model directory.
        data: record of the data, as a model directory of the workspace has it.
        source: that model directory.
        target: name of the target to export to.
        teacher: model directory of the teacher; None for a model that learns from labels.
        teacher_sha256: sha256 of the teacher's weights; "" where there is none.
        transfer: record of the unlabeled texts of a student with that teacher; {} where there is
            none.
    """

    model: str
    name: str
    data: Mapping[str, Any]
    source: Path
    target: str
    teacher: Path | None = None
    teacher_sha256: str = ""
    transfer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the cache that holds the model directory and the bundle."""
        parts = (
            *(_VERSION, self.model, self.name, self.target, self.data.get("fingerprint")),
            *(self.data.get("task"), self.data.get("text_columns")),
            *(self.teacher_sha256, dict(self.transfer)),
        )
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return workspace.cache() / "floor" / digest[:16]

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.folder / f"{self.name}-{self.target}"


def floor_of(evaluated: Sequence[Evaluated]) -> Floor:
    """Return the floor of a report's data sets; what is missing is trained and exported first.

    A model that cannot be made is left out, and a note of the floor says why: a report is written
    in any case.

    Args:
        evaluated: the report's bundles.
    """
    groups: dict[tuple[str, str, str], list[Bundle]] = {}
    for one in evaluated:
        groups.setdefault(key_of(one.bundle), []).append(one.bundle)
    models = _models()
    folders: dict[Path, str] = {}
    notes: list[str] = []
    for (data, fingerprint, task), members in groups.items():
        if task == "generation":
            notes.append(f"no floor for {data}: generated images have no score to compare")
            continue
        try:
            plans = list(_plans(members, fingerprint, task, models, _names(evaluated, folders)))
        except (BmcError, OSError) as error:
            notes.append(f"no floor for {data}: {error}")
            continue
        for plan in plans:
            try:
                bundle = _made(plan)
                folders[bundle] = _words(plan)
            except (BmcError, OSError) as error:
                notes.append(f"no {plan.model} in the floor for {data}: {error}")
    return Floor(folders, tuple(notes))


def _plans(
    members: Sequence[Bundle],
    fingerprint: str,
    task: str,
    models: Mapping[str, tuple[Path, Mapping[str, Any]]],
    taken: set[str],
) -> Iterator[FloorPlan]:
    """Plan the simple models for the bundles of one data set.

    Args:
        members: bundles that are compared with each other.
        fingerprint: the fingerprint of their data.
        task: their task.
        models: the workspace's model directories and their manifests, by the sha256 of the weights.
        taken: names of the report's other bundles.

    Raises:
        DataError: there is no simple model for such data, or the data is not known here.
        MissingError: no target can run here.
    """
    kind = _KINDS.get(str(members[0].manifest.preprocessing.get("kind")))
    if kind is None:
        reads = members[0].manifest.preprocessing.get("kind")
        raise DataError(f"there is no simple model for {reads} data; texts and images have some")
    own = {bundle.manifest.lineage.get("weights_sha256") for bundle in members}
    source, record = _record(fingerprint, task, models, own)
    sha256, teacher = _teacher(members, models)
    transfer = _transfer(members, sha256, models) if teacher else {}
    plain = {
        manifest["family"]
        for weights, (_, manifest) in models.items()
        if weights in own
        and all(str(step.get("method")).startswith("distill/") for step in manifest["steps"])
    }
    for model in _MODELS[kind]:
        if model in plain:
            continue  # the report has one already
        name = f"floor-{model}-{workspace.slug(Path(str(record['reference'])).stem)}"
        target = _target()
        if f"{name}-{target}" in taken:
            name = f"{name}-{fingerprint[:6]}"
        plan = FloorPlan(model, name, record, source, target)
        if model == "ngram" and teacher:
            plan = replace(plan, teacher=teacher, teacher_sha256=sha256, transfer=transfer)
        yield plan


def _made(plan: FloorPlan) -> Path:
    """Return the bundle of a plan; it is trained and exported where the cache has none.

    Raises:
        MissingError: a package that training needs is not installed.
        BmcError: it cannot be made.
    """
    if _is_made(plan):
        return plan.bundle
    # Another report may be making the same model: it is waited for, and its bundle used.
    with locks.alone(plan.folder / "floor", patience=float("inf")):
        if _is_made(plan):
            return plan.bundle
        console.note(f"floor: making {plan.name}; --no-floor leaves the floor out")
        try:
            # Training needs packages that a report does not.
            from bmc.workflows import floor_training  # noqa: PLC0415

            return floor_training.make(plan)
        except ModuleNotFoundError as error:
            raise plugins.missing(error, "training a simple model") from error


def _is_made(plan: FloorPlan) -> bool:
    """Tell whether the cache holds a plan's bundle, whole, and made from the plan's data."""
    if not (plan.bundle / bundles.MANIFEST).is_file():
        return False
    try:
        lineage = bundles.read(plan.bundle).manifest.lineage
    except ArtifactError as error:
        console.note(f"floor: {error}; it is made again")
        return False
    data = lineage.get("data")
    return isinstance(data, dict) and data.get("fingerprint") == plan.data.get("fingerprint")


def _words(plan: FloorPlan) -> str:
    """Say what a simple model is, and how long its training took."""
    origin: Mapping[str, Any] = {}
    with suppress(ArtifactError):  # the bundle is whole without the model directory
        origin = describe(plan.folder / plan.name)["origin"]
    taught = origin.get("teacher")
    linear = "ridge" if plan.data.get("task") == "regression" else "logistic regression"
    by = f"taught by {taught.get('name')}" if isinstance(taught, dict) else "trained on the labels"
    kinds = {
        "tfidf": f"TF-IDF with {linear}",
        "ngram": f"hashed n-grams {by}",
        "linear": "one linear layer on the pixels",
        "cnn": "a small convolutional network",
    }
    seconds = origin.get("seconds")
    took = f", trained in {seconds:.0f} s" if isinstance(seconds, int | float) else ""
    return f"{kinds[plan.model]}{took}"


def _models() -> dict[str, tuple[Path, Mapping[str, Any]]]:
    """Return the workspace's model directories and their manifests, by the weights' sha256."""
    found: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for folder in workspace.entries("model"):
        try:
            manifest = describe(folder)
        except ArtifactError:
            continue  # a report reads bundles; `bmc models` names a damaged model
        found[str(manifest["files"].get(_WEIGHTS))] = (folder, manifest)
    return found


def _record(
    fingerprint: str,
    task: str,
    models: Mapping[str, tuple[Path, Mapping[str, Any]]],
    own: set[Any],
) -> tuple[Path, Mapping[str, Any]]:
    """Return a model directory that says where the bundles' data is, and its record of the data.

    A bundle may come from somebody else, so that no path that it names is opened; the models of the
    workspace are the user's.

    Raises:
        DataError: no model of the workspace was trained on the data.
    """
    # A model of the report first, whose reference is the one that the report shows.
    for _, (folder, manifest) in sorted(models.items(), key=lambda item: item[0] not in own):
        record = manifest["data"]
        named = isinstance(record.get("reference"), str)
        if named and record.get("fingerprint") == fingerprint and manifest["task"] == task:
            return folder, record
    raise DataError(f"no model in {workspace.root()} was trained on it, and says where it is")


def _teacher(
    members: Sequence[Bundle], models: Mapping[str, tuple[Path, Mapping[str, Any]]]
) -> tuple[str, Path | None]:
    """Return the teacher that alone taught most of the bundles, by sha256 and model directory.

    Students of several teachers have none whose answers are theirs.
    """
    teachers = (bundle.manifest.lineage.get("teacher") for bundle in members)
    counts = Counter(
        str(teacher["sha256"]) for teacher in teachers if teacher and not teacher.get("more")
    )
    known = [sha256 for sha256, _ in counts.most_common() if sha256 in models]
    return (known[0], models[known[0]][0]) if known else ("", None)


def _transfer(
    members: Sequence[Bundle],
    teacher: str,
    models: Mapping[str, tuple[Path, Mapping[str, Any]]],
) -> Mapping[str, Any]:
    """Return the record of the most unlabeled texts from which one of the students learned.

    Its "rows" is their number, also in a record of bmc 0.2, which has "texts".
    """
    records: list[dict[str, Any]] = []
    for bundle in members:
        weights = str(bundle.manifest.lineage.get("weights_sha256"))
        origin = models[weights][1]["origin"] if weights in models else {}
        taught, transfer = origin.get("teacher"), origin.get("transfer")
        same = isinstance(taught, dict) and taught.get("sha256") == teacher
        if not same or not isinstance(transfer, dict):
            continue
        rows = transfer.get("rows", transfer.get("texts"))
        if type(rows) is int:
            records.append({**transfer, "rows": rows})
    return max(records, key=lambda record: record["rows"], default={})


def _names(evaluated: Sequence[Evaluated], folders: Mapping[Path, str]) -> set[str]:
    return {one.bundle.path.name for one in evaluated} | {folder.name for folder in folders}


def _target() -> str:
    """Return the first target that runs here.

    Raises:
        MissingError: none does.
    """
    for name in _TARGETS:
        try:
            if targets.load(name).available().devices:
                return name
        except MissingError:
            continue
    raise MissingError(
        "no runtime is installed that runs one: pip install 'bmc-toolkit[onnx]' (bmc doctor lists "
        "all)"
    )
