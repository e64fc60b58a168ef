"""The model that is compressed: whether a search can choose by its score, and its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmc.contracts.tasks import EMBEDDING
from bmc.errors import UsageError
from bmc.inference.form import is_quantized
from bmc.model import Model
from bmc.search.chain import Origin
from bmc.workflows.transfer import default_rows


def check_model(folder: Path, model: Model) -> None:
    """Refuse a model that has no score to keep, or that is quantized already.

    Raises:
        UsageError: it is so.
    """
    if not model.has_labels or model.task == EMBEDDING:
        raise UsageError(
            f"{folder} has no score of labeled rows by which a search could choose; bmc prune, "
            "share and quantize compress it"
        )
    if is_quantized(model.module):
        raise UsageError(
            f"{folder} is quantized, which comes last: compress the model that it was made from "
            f"({model.origin.get('from')})"
        )


def origin_of(folder: Path, model: Model, moved: str | None, transfer: str | None) -> Origin:
    """Return the model as the steps of candidates name it.

    Args:
        folder: the model directory.
        model: the model.
        moved: present location of its data; None where it is where it was.
        transfer: unlabeled rows that it teaches; None for those of a named data set.
    """
    settings = data_settings(model.data)
    if moved is not None:
        settings["data"] = moved
    named = default_rows(str(model.data.get("reference")))
    unlabeled = named if transfer is None else _absolute(transfer)
    return Origin(str(folder.absolute()), settings, unlabeled, moved)


def _absolute(reference: str) -> str:
    """Return where unlabeled rows are, from any folder; the name of a data set as it is."""
    kind, separator, path = reference.partition(":")
    if separator and Path(path).is_dir():
        return f"{kind}:{Path(path).absolute()}"
    return str(Path(reference).absolute()) if Path(reference).is_file() else reference


def data_settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that name a model's data, as a step has them."""
    settings = {
        "data": recorded.get("location") or recorded.get("reference"),
        "text_column": tuple(recorded.get("text_columns") or ()),
        "label_column": recorded.get("label_column"),
        "task": recorded.get("task"),
        "features": tuple(recorded.get("features") or ()),
    }
    if recorded.get("fold"):
        number, of = recorded["fold"]
        settings["fold"] = f"{number}/{of}"
    return {name: value for name, value in settings.items() if value}
