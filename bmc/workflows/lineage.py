"""Which data a model has learned from, its teachers' included, and what an output was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import artifact, console, workspace
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.contracts.tasks import EMBEDDING
from bmc.data import Dataset, Examples, Fold
from bmc.errors import ArtifactError, BmcError, DataError, UsageError
from bmc.files import sha256
from bmc.untrusted import unreadable

_MOST_RECORDS = 16  # data sets in one lineage; bmc.json is untrusted


@dataclass(frozen=True)
class Overlap:
    """How many rows that are held out now a model has learned, or was chosen by.

    Args:
        test: rows of the test split that it has learned, or was chosen by.
        validation: rows of the validation split that it has learned.
        where: reference of the data set that holds the first of these rows.
        unknown: why, for each data that could not be compared.
    """

    test: int
    validation: int
    where: str
    unknown: tuple[str, ...]


def described(folder: Path) -> Mapping[str, Any]:
    """Return what bmc.json says of a model directory, or what a bundle's manifest says, likewise.

    Raises:
        ArtifactError: the folder is neither, or it is damaged.
    """
    if not is_bundle(folder):
        return artifact.describe(folder)
    manifest = bundles.read(folder).manifest
    return {
        "task": manifest.task,
        "inputs": manifest.preprocessing,
        "labels": list(manifest.labels),
        "data": manifest.lineage.get("data") or {},
        "origin": {"command": "export", "teacher": manifest.lineage.get("teacher")},
        "steps": [],
    }


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder is a bundle."""
    return workspace.kind_of(folder) == "bundle"


def weights_sha256(folder: Path) -> str:
    """Return what identifies a model in lineages: the sha256 of a model directory's weights.

    A bundle is identified by its manifest, which has the sha256 of each of its files.

    Raises:
        ArtifactError: the file cannot be read.
    """
    if is_bundle(folder):
        return sha256(folder / workspace.BUNDLE_MANIFEST)
    path = folder / artifact.WEIGHTS
    try:
        return sha256(path)
    except OSError as error:
        raise unreadable(path, f"model directory {folder}", error) from error


def learned_from(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records of all data that a model and its teachers were trained on.

    Args:
        manifest: its bmc.json, checked.
    """
    records = [manifest["data"], *teachers_data(manifest["origin"].get("teacher"))]
    distinct: dict[str, dict[str, Any]] = {}
    for record in filter(None, records[:_MOST_RECORDS]):
        distinct.setdefault(str(record.get("fingerprint")), record)
    return list(distinct.values())


def teachers_data(teacher: object) -> list[dict[str, Any]]:
    """Return the records of data that bmc.json names of a teacher; what is malformed is left out.

    Args:
        teacher: value of "teacher" in a model's origin.
    """
    records = teacher.get("data") if isinstance(teacher, dict) else None
    if not isinstance(records, list):
        return []
    return [record for record in records if isinstance(record, dict)]


def overlap(folder: Path, data: Dataset) -> Overlap:
    """Compare what a model has learned from with the rows that are held out now.

    Data with the same fingerprint was split in the same way, so its held-out rows were held out,
    too.

    Args:
        folder: the model directory, or a bundle.
        data: the data with its present split.
    """
    manifest = described(folder)
    test, validation = (_keys(part, data) for part in (data.test, data.validation))
    seen_rows = np.zeros(len(test), bool), np.zeros(len(validation), bool)
    where, unknown = "", _unrecorded(folder, manifest)
    for record in learned_from(manifest):
        if record.get("fingerprint") == data.fingerprint:
            continue
        try:
            theirs = load_recorded(record, folder)
        except (BmcError, OSError) as error:
            unknown.append(str(error))
            continue
        if theirs.fingerprint != record.get("fingerprint"):
            unknown.append(f"{record['reference']} was changed since")
            continue
        learned, chosen_by = (_keys(part, theirs) for part in (theirs.train, theirs.validation))
        seen_rows[0][:] |= np.isin(test, learned) | np.isin(test, chosen_by)
        seen_rows[1][:] |= np.isin(validation, learned)
        if not where and any(flags.any() for flags in seen_rows):
            where = str(record["reference"])
    return Overlap(int(seen_rows[0].sum()), int(seen_rows[1].sum()), where, tuple(unknown))


def refuse_learned(role: str, folder: Path, data: Dataset, way_out: str = "") -> None:
    """Refuse a model that has learned rows of the test split.

    Validation rows that it has learned, and data that cannot be compared, are reported.

    Args:
        role: what the model is for, such as "teacher".
        folder: the model directory, or a bundle.
        data: the data with its present split.
        way_out: what to do, for the message.

    Raises:
        UsageError: the model has learned rows of the test split.
    """
    shared = overlap(folder, data)
    if shared.test:
        raise UsageError(
            f"the {role} {folder} was trained on {shared.test} of the {len(data.test)} rows that "
            f"are held out here (from {shared.where}): the student's score would be too high"
            f"{way_out}"
        )
    if shared.validation:
        console.note(
            f"the {role} {folder} was trained on {shared.validation} of the "
            f"{len(data.validation)} validation rows: their score will be too high"
        )
    for reason in shared.unknown:
        console.note(
            f"not known whether the {role} {folder} was trained on rows that are held out here: "
            f"{reason}"
        )


def _unrecorded(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return what a bundle does not say of the data that its model has learned from."""
    if not is_bundle(folder):
        return []
    reasons = []
    if not manifest["data"]:
        reasons.append("its manifest does not say what it was trained on")
    teacher = manifest["origin"]["teacher"]
    if teacher and not teachers_data(teacher):
        name = str(teacher.get("name"))
        reasons.append(f"its manifest does not say what its own teacher {name:.60} was trained on")
    return reasons


def _keys(part: Examples, data: Dataset) -> NDArray[np.uint64]:
    """Return a key for each row; named numbers have one key in a table and in memory, float32."""
    rows = part.rows
    if data.features and len(rows):
        rows = np.asarray(rows, np.float32)
    return datasets.keys_of(rows)


def load_recorded(
    recorded: Mapping[str, Any], folder: Path, reference: str | None = None
) -> Dataset:
    """Load data as a model directory's bmc.json records it.

    Args:
        recorded: reference, columns, task and fold.
        folder: the model directory, for messages.
        reference: present location of the data, if the data was moved.

    Raises:
        DataError: the record does not say which data it was.
        UnknownError: the data is neither where it was nor below the present folder.
        ArtifactError: the record is malformed.
    """
    columns, features = columns_of(recorded, folder)
    return datasets.load(
        reference or located(recorded, folder),
        columns or ["text"],
        str(recorded.get("label_column", "label")),
        str(recorded.get("task", "classification")),
        fold_of(recorded, folder),
        recorded.get("plugins"),
        features,
    )


def located(recorded: Mapping[str, Any], folder: Path) -> str:
    """Return how recorded data can be loaded: from where it was, or from below the present folder.

    Raises:
        DataError: the record does not say which data it was.
        UnknownError: the data is in neither place.
    """
    reference, location = recorded.get("reference"), recorded.get("location")
    if not reference:
        raise DataError(f"{folder} does not say which data it was trained on; name it with --data")
    return datasets.locate(str(reference), str(location) if location else None, str(folder))


def columns_of(recorded: Mapping[str, Any], folder: Path) -> tuple[list[str], list[str]]:
    """Return the columns of the text and the columns of numbers of recorded data; [] for none.

    Raises:
        ArtifactError: the record is malformed.
    """
    columns = [recorded.get(name) or [] for name in ("text_columns", "features")]
    for name, names in zip(("text_columns", "features"), columns, strict=True):
        if not isinstance(names, list) or not all(type(part) is str for part in names):
            raise ArtifactError(f"{folder}: {name} of its data is recorded as {names!r:.60}")
    return columns[0], columns[1]


def fold_of(recorded: Mapping[str, Any], folder: Path) -> Fold | None:
    """Return the fold that a model's data was split by.

    Raises:
        ArtifactError: a value in bmc.json is malformed.
    """
    fold = recorded.get("fold") or None
    if fold is None:
        return None
    if not isinstance(fold, list) or [type(part) for part in fold] != [int, int]:
        raise ArtifactError(f"{folder}: fold of its data is recorded as {fold!r:.60}")
    return Fold(*fold)


def data_of(folder: Path, reference: str | None) -> Dataset:
    """Load the data that a model directory was trained on, from where it was or where it is now.

    Raises:
        DataError: it is not the same data, or has its labels in another order; or bmc.json does not
            say which it was.
        ArtifactError: bmc.json is malformed.
    """
    manifest = artifact.describe(folder)
    recorded = manifest["data"]
    data = load_recorded(recorded, folder, reference)
    fingerprint = recorded.get("fingerprint")
    if reference is None and fingerprint and fingerprint != data.fingerprint:
        raise DataError(
            f"{recorded['reference']} is not the data that {folder} was trained on any more "
            f"(fingerprint {data.fingerprint[:12]}, recorded {str(fingerprint)[:12]}): "
            "its held-out rows may have been trained on. Bring it back, name a copy of it with "
            "--data, or train the model anew (also where an earlier version of bmc trained it, "
            "which split some data otherwise: the changelog lists them)"
        )
    datasets.check_same(data, fingerprint, str(folder))
    _check_order(manifest["labels"], data, folder)
    if manifest["task"] != EMBEDDING:
        return data
    vectors = artifact.reference_of(folder, manifest)
    if vectors is None:
        raise ArtifactError(
            f"{folder} lacks {artifact.REFERENCE}, the vectors that its own are compared with; "
            "make it again with bmc train or bmc distill"
        )
    return datasets.with_reference(data, vectors)


def _check_order(labels: Sequence[str], data: Dataset, folder: Path) -> None:
    """Refuse data whose labels are numbered in another order than a model's outputs.

    Rows in memory have the order that the caller of `bmc.wrap` named; a file of the same rows has
    its own.

    Raises:
        DataError: the labels are the same, in another order.
    """
    if set(labels) == set(data.labels) and tuple(labels) != data.labels:
        raise DataError(
            f"{folder} has outputs for {', '.join(labels)}, in this order, and {data.name!r} has "
            f"the order {', '.join(data.labels)}: leave the data out, or call bmc.wrap again with "
            "the network, its data and labels"
        )


def refuse_another_fold(teacher: Path, record: Mapping[str, Any]) -> None:
    """Refuse a teacher that learned rows of this data which are held out here.

    Args:
        teacher: its model directory.
        record: record of the student's data, as `data_record` returns it.

    Raises:
        UsageError: teacher and student were trained on different splits of one data set.
        ArtifactError: a value in bmc.json is malformed.
    """
    teacher_data = described(teacher)["data"]
    reference = record.get("reference")
    if not reference or not _is_same(reference, teacher_data.get("reference")):
        return
    folds = [fold_of(recorded, teacher) for recorded in (teacher_data, record)]
    if folds[0] != folds[1]:
        first, second = (
            f"fold {fold.number}/{fold.of}" if fold else "the usual test split" for fold in folds
        )
        raise UsageError(
            f"the teacher {teacher} was made with {first} of {reference} held out, and here it is "
            f"{second}: it was trained on rows that the student will be scored on. Train a teacher "
            "with the same --fold"
        )


def _is_same(first: object, second: object) -> bool:
    """Tell whether two references name the same data, however a file's path is written."""
    if first == second:
        return True
    paths = [Path(str(reference)) for reference in (first, second)]
    return all(path.exists() for path in paths) and paths[0].samefile(paths[1])
