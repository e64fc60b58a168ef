"""Texts of the rows that a student and its teacher predict differently, read from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmc import console, plugins, workspace
from bmc.data import Dataset
from bmc.description import describe
from bmc.errors import ArtifactError, BmcError
from bmc.report.disagreements import Disagreements
from bmc.report.line import Line, Report

_KINDS = ("text", "ngram")  # of rows that a page can show
_MAX_CHARACTERS = 400  # of a text
_MAX_ROWS = 200_000  # of data that is loaded for a few texts
Source = tuple[Path, Mapping[str, Any]]


def with_texts(report: Report) -> Report:
    """Return the report with the texts of its disagreements, where the data can be read here.

    Only data on which a model directory of the workspace was trained is opened: a bundle may come
    from anybody, and the path that it names is not opened.
    """
    sources = _sources()
    loaded: dict[str, Dataset | str] = {}
    return replace(report, lines=tuple(_with_texts(line, sources, loaded) for line in report.lines))


def _with_texts(
    line: Line, sources: Mapping[str, Source], loaded: dict[str, Dataset | str]
) -> Line:
    found = line.disagreements
    if found is None or not found.rows or line.floor:
        return line
    if line.kind not in _KINDS:
        return replace(line, disagreements=replace(found, why_no_text="the rows are no texts"))
    fingerprint = line.lineage.fingerprint
    if fingerprint not in loaded:
        loaded[fingerprint] = _load(fingerprint, sources)
    data = loaded[fingerprint]
    if isinstance(data, str):
        return replace(line, disagreements=replace(found, why_no_text=data))
    return replace(line, disagreements=_filled(found, data, line.rows))


def _filled(found: Disagreements, data: Dataset, rows: int) -> Disagreements:
    """Return the rows with their texts, unless the data has other labels in these rows."""
    test = data.test
    is_same = len(test) == rows and all(
        data.labels[int(test.labels[row.row])] == row.label for row in found.rows
    )
    if not is_same:
        return replace(found, why_no_text="the data was split in another way when it was scored")
    shown = tuple(replace(row, text=_text(test.rows[row.row])) for row in found.rows)
    return replace(found, rows=shown)


def _text(row: Sequence[str]) -> str:
    text = " | ".join(map(str, row))
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"


def _load(fingerprint: str, sources: Mapping[str, Source]) -> Dataset | str:
    """Return the data with this fingerprint, or the reason why it cannot be read."""
    if not fingerprint or fingerprint not in sources:
        return "no model directory of the workspace was trained on the data"
    folder, record = sources[fingerprint]
    recorded = record.get("rows")
    counts = recorded.values() if isinstance(recorded, dict) else ()
    rows = sum(count for count in counts if type(count) is int)
    if rows > _MAX_ROWS:
        return f"the data has {rows:,} rows, and {_MAX_ROWS:,} at most are read for them"
    try:
        # Imported here, because the module needs torch, which a report does not need.
        from bmc.workflows.lineage import load_recorded  # noqa: PLC0415

        with console.muted():
            data = load_recorded(record, folder)
    except ModuleNotFoundError as error:
        return str(plugins.missing(error, "reading the data"))
    except (BmcError, OSError) as error:
        return str(error)
    return data if data.fingerprint == fingerprint else "the data was changed since"


def _sources() -> dict[str, Source]:
    """Return a model directory and its record of the data, by the data's fingerprint."""
    sources: dict[str, Source] = {}
    for folder in workspace.entries("model"):
        try:
            record = describe(folder)["data"]
        except ArtifactError:
            continue  # damaged models are listed by `bmc models`
        if isinstance(record.get("reference"), str):
            sources.setdefault(str(record.get("fingerprint")), (folder, record))
    return sources
