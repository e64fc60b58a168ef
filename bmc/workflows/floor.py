"""The floor of a report: simple models of the same data, as a baseline for the networks.

For texts the models are TF-IDF with a linear model, and hashed n-grams that learn from the teacher
of the report's students; for sentence embeddings TF-IDF with a truncated SVD, and such n-grams; for
images a linear model and a small convolutional network; for sound a linear model of the mean
log-mel energies; for tables of numbers a linear model, and gradient boosting; for words with tags
the most frequent tag of each word, and a linear model of words and their neighbors. Gradient
boosting and the models of words are scored without a bundle. Each other model is exported to a
bundle in the workspace's cache. A later report reuses the bundle if its inputs are the same: the
data's fingerprint, the teacher's weights, the unlabeled texts, and the recipes.
"""

from __future__ import annotations

import hashlib
import importlib
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
from bmc.contracts.tasks import EMBEDDING, TENSORS
from bmc.contracts.tasks import task as task_of
from bmc.description import describe
from bmc.errors import ArtifactError, BmcError, DataError, MissingError
from bmc.report.floor import Floor
from bmc.report.read import Evaluated
from bmc.report.reference import key_of

# Of floor_training.py, boosting.py, majority_tags.py and word_features.py; raise it when one
# changes.
_RECIPES_VERSION = 3
_SCORED = {
    "boosting": "gradient boosting",
    "majority-tags": "majority tags",
    "word-features": "a linear model of words",
}
"""Titles of the models that are scored without a bundle, by name."""
_TARGETS = ("onnx", "openvino", "pytorch")
_VECTOR_MODELS = ("svd", "ngram")
_MODELS = {
    "text": ("tfidf", "ngram"),
    "image": ("linear", "cnn"),
    "audio": ("linear",),
    "features": ("linear", "boosting"),
    "words": ("majority-tags", "word-features"),
}
_KINDS = {
    "text": "text",
    "ngram": "text",
    "image": "image",
    "audio": "audio",
    "features": "features",
    "words": "words",
}
"""Kind of the data, by the kind of a bundle's preprocessing."""
_WEIGHTS = "model.safetensors"
_MAX_ORIGINS = 64  # models of which one was made from the other; bmc.json is untrusted
Models = Mapping[str, tuple[Path, Mapping[str, Any]]]
"""Model directories and their manifests, by the sha256 of the weights."""


@dataclass(frozen=True)
class FloorPlan:
    """The plan of a simple model: what to train, on which data, and where to export.

    Args:
        model: "tfidf", "svd", "ngram", "linear" or "cnn", or the name of a model without a bundle.
        name: name of the simple model's directory.
        data: record of the data, from a model directory of the workspace.
        source: the model directory that the record was read from.
        target: name of the target to export to; "" for a model without a bundle.
        kind: kind of the data's rows, such as "text".
        teacher: model directory of the teacher, with whose vectors those of sentence embeddings are
            compared; None for a model that learns from labels.
        teacher_sha256: sha256 of the teacher's weights; "" without a teacher.
        transfer: record of the unlabeled texts that a student of this teacher learned from; {} if
            there is no such student.
    """

    model: str
    name: str
    data: Mapping[str, Any]
    source: Path
    target: str
    kind: str = "text"
    teacher: Path | None = None
    teacher_sha256: str = ""
    transfer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the cache that holds the model directory and the bundle."""
        parts = (
            *(_RECIPES_VERSION, self.model, self.name, self.target, self.data.get("fingerprint")),
            *(self.data.get("task"), self.data.get("text_columns")),
            *([self.data["features"]] if self.data.get("features") else []),
            *(self.teacher_sha256, dict(self.transfer)),
        )
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return workspace.cache() / "floor" / digest[:16]

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.folder / f"{self.name}-{self.target}"


def floor_of(evaluated: Sequence[Evaluated]) -> Floor:
    """Return the floor of a report's data sets; train and export the models not yet in the cache.

    If a model cannot be built, the floor has a note with the reason in its place, and the report is
    still written.

    Args:
        evaluated: the report's bundles.
    """
    groups: dict[tuple[str, str, str], list[Bundle]] = {}
    for entry in evaluated:
        groups.setdefault(key_of(entry.bundle), []).append(entry.bundle)
    entries = _entries()
    folders: dict[Path, str] = {}
    notes: list[str] = []
    for (data, fingerprint, task), members in groups.items():
        if task == TENSORS:
            continue  # an ONNX file of another tool, whose samples have no labels
        if not task_of(task).has_labels:
            notes.append(f"no floor for {data}: generated images have no score to compare")
            continue
        models = _models(entries, fingerprint)
        try:
            plans = list(_plans(members, fingerprint, task, models, _names(evaluated, folders)))
        except (BmcError, OSError) as error:
            notes.append(f"no floor for {data}: {error}")
            continue
        for plan in plans:
            if plan.model in _SCORED:
                notes.append(_scored(plan, data))
                continue
            try:
                bundle = _make(plan)
                folders[bundle] = _describe_plan(plan)
            except (BmcError, OSError) as error:
                notes.append(f"no {plan.model} in the floor for {data}: {error}")
    return Floor(folders, tuple(notes))


def _plans(
    members: Sequence[Bundle],
    fingerprint: str,
    task: str,
    models: Models,
    taken: set[str],
) -> Iterator[FloorPlan]:
    """Plan the simple models for the bundles of one data set.

    Args:
        members: bundles that are compared with each other.
        fingerprint: fingerprint of the bundles' data.
        task: task of the bundles.
        models: the workspace's model directories and their manifests, by the sha256 of the weights.
        taken: names of the report's other bundles.

    Raises:
        DataError: there is no simple model for such data, or no model of the workspace was trained
            on it.
        MissingError: no target can run on this machine.
    """
    kind = _KINDS.get(str(members[0].manifest.preprocessing.get("kind")))
    if kind is None:
        preprocessing = members[0].manifest.preprocessing.get("kind")
        raise DataError(
            f"there is no simple model for {preprocessing} data; texts, words with tags, images, "
            "sound and tables of numbers have some"
        )
    report_weights = {bundle.manifest.lineage.get("weights_sha256") for bundle in members}
    comparable = models
    if task == EMBEDDING:
        sha256 = _compared_with(members, models)
        teacher = models[sha256][0] if sha256 in models else None
        comparable = {
            weights: model
            for weights, model in models.items()
            if _reference_model(weights, models) == sha256
        }
    else:
        sha256, teacher = _teacher(members, models)
    source, record = _record(fingerprint, task, comparable, report_weights)
    transfer = _transfer(members, sha256, models) if teacher else {}
    uncompressed_families = {
        manifest["family"]
        for weights, (_, manifest) in models.items()
        if weights in report_weights
        and all(str(step.get("method")).startswith("distill/") for step in manifest["steps"])
    }
    for model in _VECTOR_MODELS if task == EMBEDDING else _MODELS[kind]:
        if model in _SCORED:
            yield FloorPlan(model, model, record, source, "", kind)
            continue
        if model in uncompressed_families:
            continue  # the report has such a model already
        name = f"floor-{model}-{workspace.slug(Path(str(record['reference'])).stem)}"
        target = _target()
        if f"{name}-{target}" in taken:
            name = f"{name}-{fingerprint[:6]}"
        plan = FloorPlan(model, name, record, source, target, kind)
        if task == EMBEDDING or (model == "ngram" and teacher):
            plan = replace(plan, teacher=teacher, teacher_sha256=sha256, transfer=transfer)
        yield plan


def _scored(plan: FloorPlan, data: str) -> str:
    """Return a sentence on a model that is scored in this process; see `scored_floor`."""
    title = _SCORED[plan.model]
    try:
        # Imported here, because the models need packages that a report does not need.
        from bmc.workflows import scored_floor  # noqa: PLC0415

        name = plan.model.replace("-", "_")
        model = importlib.import_module(f"bmc.workflows.{name}").MODEL
        return f"{data}: {scored_floor.sentence(plan, model)}"
    except ModuleNotFoundError as error:
        reason: Exception = plugins.missing(error, title)
    except (BmcError, OSError) as error:
        reason = error
    return f"no {title} in the floor for {data}: {reason}"


def _make(plan: FloorPlan) -> Path:
    """Return the bundle of a plan; train and export the model if the cache has no bundle.

    Raises:
        MissingError: a package that training needs is not installed.
        BmcError: the model cannot be trained or exported.
    """
    if _is_made(plan):
        return plan.bundle
    # Another process may be training the same model; wait for it, and use its bundle.
    with locks.alone(plan.folder / "floor", patience=float("inf")):
        if _is_made(plan):
            return plan.bundle
        console.note(f"floor: making {plan.name}; --no-floor leaves the floor out")
        try:
            # Imported here, because training needs packages that a report does not need.
            from bmc.workflows import floor_training  # noqa: PLC0415

            return floor_training.make(plan)
        except ModuleNotFoundError as error:
            raise plugins.missing(error, "training a simple model") from error


def _is_made(plan: FloorPlan) -> bool:
    """Tell whether the cache holds a valid bundle of a plan, made from the plan's data."""
    if not (plan.bundle / bundles.MANIFEST).is_file():
        return False
    try:
        lineage = bundles.read(plan.bundle).manifest.lineage
    except ArtifactError as error:
        console.note(f"floor: {error}; it is made again")
        return False
    data = lineage.get("data")
    return isinstance(data, dict) and data.get("fingerprint") == plan.data.get("fingerprint")


def _describe_plan(plan: FloorPlan) -> str:
    """Return a short description of a simple model, with the duration of its training."""
    origin: Mapping[str, Any] = {}
    with suppress(ArtifactError):  # the bundle is valid without the model directory
        origin = describe(plan.folder / plan.name)["origin"]
    teacher = origin.get("teacher")
    is_numeric = task_of(str(plan.data.get("task", "classification"))).is_numeric
    linear = "ridge" if is_numeric else "logistic regression"
    learned_from = (
        f"taught by {teacher.get('name')}" if isinstance(teacher, dict) else "trained on the labels"
    )
    descriptions = {
        "tfidf": f"TF-IDF with {linear}",
        "svd": "TF-IDF with a truncated SVD",
        "ngram": f"hashed n-grams {learned_from}",
        "linear": f"one linear layer on the {_linear_inputs(plan)}",
        "cnn": "a small convolutional network",
    }
    seconds = origin.get("seconds")
    duration = f", trained in {seconds:.0f} s" if isinstance(seconds, int | float) else ""
    return f"{descriptions[plan.model]}{duration}"


def _linear_inputs(plan: FloorPlan) -> str:
    """Return what the linear model of a plan reads."""
    if plan.data.get("features"):
        return "numbers"
    return "mean log-mel energies" if plan.kind == "audio" else "pixels"


def _entries() -> list[tuple[Path, Mapping[str, Any]]]:
    """Return the workspace's model directories and their manifests."""
    entries: list[tuple[Path, Mapping[str, Any]]] = []
    for folder in workspace.entries("model"):
        try:
            entries.append((folder, describe(folder)))
        except ArtifactError:
            continue  # damaged models are listed by `bmc models`
    return entries


def _models(entries: Sequence[tuple[Path, Mapping[str, Any]]], fingerprint: str) -> Models:
    """Return model directories and their manifests, by the weights' sha256.

    An encoder of sentences that was read with several texts has the same weights in each of its
    model directories: the one with the given texts counts.

    Args:
        entries: model directories and their manifests.
        fingerprint: fingerprint of data.
    """
    ordered = sorted(entries, key=lambda entry: entry[1]["data"].get("fingerprint") == fingerprint)
    return {
        str(manifest["files"].get(_WEIGHTS)): (folder, manifest) for folder, manifest in ordered
    }


def _record(
    fingerprint: str,
    task: str,
    models: Models,
    report_weights: set[Any],
) -> tuple[Path, Mapping[str, Any]]:
    """Return a model directory that was trained on the bundles' data, and its record of the data.

    The record has the path of the data. A bundle's own record is not used: a bundle may come from
    an untrusted source, and the paths that it names are not opened. Model directories of the
    workspace are trusted.

    Raises:
        DataError: no model of the workspace was trained on the data.
    """
    # Models of the report come first, because the report shows their name of the data.
    for _, (folder, manifest) in sorted(
        models.items(), key=lambda item: item[0] not in report_weights
    ):
        record = manifest["data"]
        has_reference = isinstance(record.get("reference"), str)
        same_data = record.get("fingerprint") == fingerprint
        if has_reference and same_data and manifest["task"] == task:
            return folder, record
    raise DataError(f"no model in {workspace.root()} was trained on it, and says where it is")


def _teacher(members: Sequence[Bundle], models: Models) -> tuple[str, Path | None]:
    """Return the sha256 and the model directory of the teacher that taught most of the bundles.

    Students of several teachers do not count, because they learned from an average of outputs.
    """
    teachers = (bundle.manifest.lineage.get("teacher") for bundle in members)
    counts = Counter(
        str(teacher["sha256"]) for teacher in teachers if teacher and not teacher.get("more")
    )
    in_workspace = [sha256 for sha256, _ in counts.most_common() if sha256 in models]
    return (in_workspace[0], models[in_workspace[0]][0]) if in_workspace else ("", None)


def _compared_with(members: Sequence[Bundle], models: Models) -> str:
    """Return the sha256 of the weights of the model with whose vectors most bundles' are compared.

    Raises:
        DataError: the workspace does not have the models of the bundles.
    """
    weights = (str(bundle.manifest.lineage.get("weights_sha256")) for bundle in members)
    counts = Counter(filter(None, (_reference_model(sha256, models) for sha256 in weights)))
    if not counts:
        raise DataError(
            f"no model in {workspace.root()} says with which vectors theirs are compared"
        )
    return counts.most_common(1)[0][0]


def _reference_model(weights: str, models: Models) -> str:
    """Return the sha256 of the weights of the model with whose vectors a model's are compared.

    A student is compared with its teacher, and a model that was read with itself. What is made of a
    model is compared as the model is.

    Args:
        weights: sha256 of the weights of a model that makes vectors.
        models: the workspace's model directories and their manifests, by the weights' sha256.

    Returns:
        "" where the workspace lacks a model that it was made from.
    """
    for _ in range(_MAX_ORIGINS):
        if weights not in models:
            return ""
        origin = models[weights][1]["origin"]
        teacher = origin.get("teacher")
        if origin.get("command") == "distill":
            return str(teacher.get("sha256")) if isinstance(teacher, dict) else ""
        if origin.get("command") == "train":
            return weights
        weights = str(origin.get("from_sha256"))
    return ""


def _transfer(
    members: Sequence[Bundle],
    teacher: str,
    models: Models,
) -> Mapping[str, Any]:
    """Return the record of the unlabeled texts of the teacher's student that learned from most.

    "rows" of the record is the number of texts; records of bmc 0.2 have it under "texts".
    """
    records: list[dict[str, Any]] = []
    for bundle in members:
        weights = str(bundle.manifest.lineage.get("weights_sha256"))
        origin = models[weights][1]["origin"] if weights in models else {}
        recorded, transfer = origin.get("teacher"), origin.get("transfer")
        same_teacher = isinstance(recorded, dict) and recorded.get("sha256") == teacher
        if not same_teacher or not isinstance(transfer, dict):
            continue
        rows = transfer.get("rows", transfer.get("texts"))
        if type(rows) is int:
            records.append({**transfer, "rows": rows})
    return max(records, key=lambda record: record["rows"], default={})


def _names(evaluated: Sequence[Evaluated], folders: Mapping[Path, str]) -> set[str]:
    return {entry.bundle.path.name for entry in evaluated} | {folder.name for folder in folders}


def _target() -> str:
    """Return the first target that can run on this machine.

    Raises:
        MissingError: no target can.
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
