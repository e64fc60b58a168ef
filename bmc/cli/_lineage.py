"""Which data a model has learned from, its teachers' included, and what an output was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bmc import artifact, workspace
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.data import Dataset, Fold
from bmc.errors import ArtifactError, BmcError, DataError, UsageError
from bmc.files import sha256
from bmc.untrusted import read_json, unreadable
from bmc.writing import hold, refuse_existing

_MOST_RECORDS = 16  # of data in one lineage: bmc.json may come from a stranger
_SHOWN = 12


@dataclass(frozen=True)
class Overlap:
    """How many rows that are held out now a model has learned, or was chosen by.

    Args:
        test: rows of the test split that it has learned, or was chosen by.
        validation: rows of the validation split that it has learned.
        where: reference of the data that holds the first of them.
        unknown: why, for each data that could not be compared.
    """

    test: int
    validation: int
    where: str
    unknown: tuple[str, ...]


def weights_sha256(folder: Path) -> str:
    """Return the sha256 of a model directory's weights: what identifies a model in lineages.

    Raises:
        ArtifactError: it has none, or they cannot be read.
    """
    path = folder / artifact.WEIGHTS
    try:
        return sha256(path)
    except OSError as error:
        raise unreadable(path, f"model directory {folder}", error) from error


def learned_from(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records of all data that a model has learned from: its own, then its teachers'.

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
        teacher: what stands in a model's origin.
    """
    records = teacher.get("data") if isinstance(teacher, dict) else None
    if not isinstance(records, list):
        return []
    return [record for record in records if isinstance(record, dict)]


def overlap(folder: Path, data: Dataset) -> Overlap:
    """Compare what a model has learned from with the rows that are held out now.

    Data of one fingerprint was split in one way, so its held-out rows were held out then, too.

    Args:
        folder: the model directory.
        data: split as it is used now.
    """
    test, validation = (datasets.keys_of(part.rows) for part in (data.test, data.validation))
    seen = np.zeros(len(test), bool), np.zeros(len(validation), bool)
    where, unknown = "", []
    for record in learned_from(artifact.describe(folder)):
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
        learned, chosen_by = (
            datasets.keys_of(part.rows) for part in (theirs.train, theirs.validation)
        )
        seen[0][:] |= np.isin(test, learned) | np.isin(test, chosen_by)
        seen[1][:] |= np.isin(validation, learned)
        if not where and any(flags.any() for flags in seen):
            where = str(record["reference"])
    return Overlap(int(seen[0].sum()), int(seen[1].sum()), where, tuple(unknown))


def load_recorded(
    recorded: Mapping[str, Any], folder: Path, reference: str | None = None
) -> Dataset:
    """Load data as a model directory's bmc.json records it.

    Args:
        recorded: reference, columns, task and fold.
        folder: the model directory, for messages.
        reference: where the data is now, if it is not where it was.

    Raises:
        DataError: the record does not say which data it was.
        UnknownError: the data is neither where it was nor below the present folder.
        ArtifactError: the record is malformed.
    """
    columns = recorded.get("text_columns") or ["text"]
    if not isinstance(columns, list) or not all(type(one) is str for one in columns):
        raise ArtifactError(f"{folder}: text_columns of its data is recorded as {columns!r:.60}")
    named = reference or recorded.get("reference")
    if not named:
        raise DataError(f"{folder} does not say which data it was trained on; name it with --data")
    if not reference:
        location = recorded.get("location")
        named = datasets.locate(str(named), str(location) if location else None, str(folder))
    return datasets.load(
        str(named),
        columns,
        str(recorded.get("label_column", "label")),
        str(recorded.get("task", "classification")),
        fold_of(recorded, folder),
    )


def fold_of(recorded: Mapping[str, Any], folder: Path) -> Fold | None:
    """Return the fold that a model's data was split by.

    Raises:
        ArtifactError: bmc.json says nonsense.
    """
    fold = recorded.get("fold") or None
    if fold is None:
        return None
    if not isinstance(fold, list) or [type(one) for one in fold] != [int, int]:
        raise ArtifactError(f"{folder}: fold of its data is recorded as {fold!r:.60}")
    return Fold(*fold)


def refuse_output(
    output: Path, force: bool, data: Dataset | None = None, source: Path | None = None
) -> None:
    """Refuse an output that exists, or take it for this command, before any work is done for it.

    The message says so where what exists was made from something else.

    Args:
        output: a model directory or bundle that is to be written.
        force: replace it.
        data: what a model will be trained on.
        source: the model directory that is to be compressed or exported.

    Raises:
        UsageError: it exists and `force` is off, bmc did not write it, or another command is
            writing it.
    """
    try:
        refuse_existing(output, force)
    except UsageError as error:
        other = "" if force else _made_otherwise(output, data, source)
        if not other:
            raise
        raise UsageError(
            f"{output} exists, and {other}; --force replaces it, --output names another place"
        ) from error
    hold(output)


def _made_otherwise(output: Path, data: Dataset | None, source: Path | None) -> str:
    """Say what an output was made from, where that is not what is at hand; "" where it is."""
    try:
        data_then, weights_then = _made_from(output)
    except ArtifactError:
        return ""
    known = data_then.get("fingerprint")
    if data and known and known != data.fingerprint:
        return (
            f"was made from other data ({data_then.get('reference')}, fingerprint "
            f"{str(known)[:_SHOWN]}; this one has {data.fingerprint[:_SHOWN]})"
        )
    if source and weights_then and weights_then != weights_sha256(source):
        return f"was made from another {source.name} (weights {str(weights_then)[:_SHOWN]})"
    return ""


def _made_from(output: Path) -> tuple[Mapping[str, Any], object]:
    """Return the record of an output's data, and the sha256 of the weights that it was made of."""
    if workspace.kind_of(output) == "model":
        manifest = artifact.describe(output)
        return manifest["data"], manifest["origin"].get("from_sha256")
    lineage = read_json(output / bundles.MANIFEST, "bundle").get("lineage")
    if not isinstance(lineage, dict) or not isinstance(lineage.get("data"), dict):
        raise ArtifactError(f"bundle {output} does not say what it was made from")
    return lineage["data"], lineage.get("weights_sha256")
