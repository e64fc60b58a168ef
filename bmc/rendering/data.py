"""What `bmc datasets` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from bmc import assets, console
from bmc import data as data_sets
from bmc.contracts.data_sets import DATA_SETS
from bmc.data import Dataset
from bmc.rendering.rendered import Rendered

_EXAMPLES = 10
_BARS = 8
_BAR = 30
_TAGS = 60  # characters of a row's tags


def listed() -> Rendered:
    """Render which data sets there are."""
    table = Table("data set", "what it is", "license")
    lines = []
    for error in DATA_SETS.refused().values():
        console.note(f"left out: {error}")
    for name, data_set in DATA_SETS.usable().items():
        about, asset = data_set.about, assets.ASSETS.get(data_set.asset or "")
        terms = data_set.license or (asset.license if asset else "")
        table.add_row(name, about, terms)
        lines.append({"name": name, "what": about, "license": terms})
    return Rendered(
        {"datasets": lines},
        (
            table,
            "your own: --data FILE.csv (.tsv, .jsonl, .json, .parquet) --text-column ... "
            "--label-column ..., or --features all; FILE.npz, imagefolder:DIR, "
            "audiofolder:DIR, hf:NAME; FILE.conll (.txt, .jsonl) --task tokens",
        ),
    )


def described(data: Dataset) -> Rendered:
    """Render the content of one data set."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    about = f"{data.name}: {data.kind}, {data.task}"
    table = Table("part", "rows", *data.labels, title=about)
    classes = {part: data_sets.histogram(rows, data.labels) for part, rows in parts.items()}
    for part, rows in parts.items():
        table.add_row(part, str(len(rows)), *(str(count) for count in classes[part].values()))
    lengths = data_sets.lengths(data.train, data.kind)
    lines = [
        f"{_label(data, label)}: {_short(row, data.features, data.kind)}"
        for row, label in zip(data.train.rows[:_EXAMPLES], data.train.labels, strict=False)
    ]
    return Rendered(
        {
            "name": data.name,
            "kind": data.kind,
            "task": data.task,
            "columns": list(data.columns or data.features),
            "rows": {part: len(rows) for part, rows in parts.items()},
            "classes": classes,
            "lengths": _counts(lengths),
            "examples": lines,
            "fingerprint": data.fingerprint,
            "summary": data.summary.to_json(),
        },
        (
            table,
            data.described(),
            *(f"note: {text}" for text in data.summary.notes),
            *([_histogram(lengths, data.kind)] if len(lengths) else []),
            *lines,
        ),
    )


def _label(data: Dataset, label: Any) -> str:
    if data.kind == "words":
        return " ".join(data.labels[tag] for tag in label)[:_TAGS]
    if isinstance(label, tuple):
        names = [name for name, is_set in zip(data.labels, label, strict=True) if is_set]
        return "|".join(names) or "no label"
    return data.labels[int(label)] if data.labels else f"{label:g}"


def _short(row: object, features: Sequence[str] = (), kind: str = "text") -> str:
    if kind == "words" and isinstance(row, tuple):
        return " ".join(row)[:100]
    if features and isinstance(row, np.ndarray):
        pairs = zip(features, row.tolist(), strict=True)
        return ", ".join(f"{name} {value:.4g}" for name, value in pairs)[:100]
    if isinstance(row, tuple):
        return " | ".join(row)[:100]
    if isinstance(row, np.ndarray):
        return f"{' x '.join(str(size) for size in row.shape)}, mean {row.mean():.3g}"
    if isinstance(row, bytes):
        return f"a picture of {len(row):,} bytes"
    return str(row)


def _counts(lengths: NDArray[np.int32]) -> dict[str, list[float]]:
    """Count the rows between each two edges of the histogram."""
    if not len(lengths):
        return {}
    bars = min(_BARS, max(1, int(lengths.max() - lengths.min())))
    counts, edges = np.histogram(lengths, bins=bars)
    return {"edges": edges.tolist(), "rows": counts.tolist(), "median": [float(np.median(lengths))]}


def _histogram(lengths: NDArray[np.int32], kind: str) -> Table:
    """Draw how long rows are: words of a text, steps of a series."""
    unit = "words" if kind in ("text", "words") else "steps"
    lines = _counts(lengths)
    table = Table(unit, "rows", "", title=f"train: median {lines['median'][0]:.0f} {unit}")
    for count, low, high in zip(lines["rows"], lines["edges"], lines["edges"][1:], strict=False):
        bar = "█" * round(_BAR * count / max(lines["rows"]))
        table.add_row(f"{low:.0f} to {high:.0f}", str(count), bar)
    return table
