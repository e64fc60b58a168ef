"""The data that a workflow reads: where it comes from, and how bmc.json records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bmc import console
from bmc.choices import Choice, about
from bmc.contracts.data_sets import DATA_SETS
from bmc.contracts.tasks import EMBEDDING, TOKENS, labeled_tasks
from bmc.folds import Fold

if TYPE_CHECKING:
    from bmc.data import Dataset


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read, and what its labels are.

    Args:
        text_column: column of the text in the file; two for sentence pairs.
        label_column: column of the label in the file; with --task multilabel of all labels of a
            row, or a column of 0 and 1 for each, separated by commas; with --task tokens the number
            of the tags' column in a .conll or .txt file (the default is the last).
        task: classification (one class per row), multilabel (any number of labels), tokens (a tag
            for each word), regression, or embedding (a vector per text, which needs no labels).
        features: numeric columns to read instead of text, such as age,income; "all" reads
            every numeric column except the label.
    """

    GROUP: ClassVar[str] = "Data"

    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    task: str = field(default="classification", metadata=about(Choice("task", labeled_tasks)))
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSource(Columns):
    """Where data comes from, which columns are read, and how the data is split.

    Args:
        data: a data set's name (bmc datasets lists all), a .csv, .tsv, .jsonl, .json, .parquet,
            .arrow or .npz file, imagefolder:DIR, audiofolder:DIR, or hf:NAME; with --task tokens a
            .conll, .txt or .jsonl file.
        fold: hold out one fold of a cross-validation, such as 2/5, instead of the test split.
    """

    data: str = "movie-reviews"
    fold: Fold | None = None

    def load(self) -> Dataset:
        """Load and split the data, and say what was decided about it.

        Raises:
            UnknownError: there is no such data.
            DataError: the data cannot be used.
        """
        data = self.read()
        console.note(f"data {data.described()}")
        for text in data.summary.notes:
            console.note(f"data {data.name}: {text}")
        return data

    def read(self) -> Dataset:
        """Load and split the data, without a word; see `load`."""
        from bmc import data as datasets  # noqa: PLC0415  --help needs no numpy

        return datasets.load(
            self.data,
            self.text_column,
            self.label_column,
            self.task,
            self.fold,
            features=self.features,
        )


@dataclass(frozen=True)
class StudentsData:
    """What a student learns from: the data that its teacher was trained on, where none is named.

    Args:
        data: a data set's name (bmc datasets lists all), a .csv, .tsv, .jsonl, .json, .parquet,
            .arrow or .npz file, imagefolder:DIR, audiofolder:DIR, or hf:NAME; with --task tokens a
            .conll, .txt or .jsonl file. The default is the data that the teacher was trained on,
            split in the same way, and movie-reviews for the name of a built-in teacher.
        text_column: column of the text in the file; two for sentence pairs (default: the
            teacher's).
        label_column: column of the label in the file; with --task multilabel of all labels of a
            row, or a column of 0 and 1 for each, separated by commas; with --task tokens the number
            of the tags' column in a .conll or .txt file (default: the teacher's).
        task: classification (one class per row), multilabel (any number of labels), tokens (a tag
            for each word), regression, or embedding (a vector per text, which needs no labels)
            (default: the teacher's).
        features: numeric columns to read instead of text, such as age,income; "all" reads
            every numeric column except the label (default: the teacher's).
        fold: hold out one fold of a cross-validation, such as 2/5, instead of the test split
            (default: the teacher's, where its data is taken).
    """

    GROUP: ClassVar[str] = "Data"

    text_column: tuple[str, ...] = ()
    label_column: str | None = None
    task: str | None = field(default=None, metadata=about(Choice("task", labeled_tasks)))
    features: tuple[str, ...] = ()
    data: str | None = None
    fold: Fold | None = None

    def beside(self, recorded: Mapping[str, Any]) -> DataSource:
        """Return the student's data.

        Args:
            recorded: record of the teacher's data, as `data_record` returns it; {} where there is
                none.
        """
        named = recorded.get("location") or recorded.get("reference") or DataSource.data
        fold = self.fold
        if fold is None and self.data is None and recorded.get("fold"):
            fold = Fold(*recorded["fold"])
        return DataSource(
            text_column=self.text_column
            or tuple(recorded.get("text_columns") or DataSource.text_column),
            label_column=self.label_column
            or str(recorded.get("label_column", DataSource.label_column)),
            task=self.task or str(recorded.get("task", "classification")),
            features=self.features or tuple(recorded.get("features") or ()),
            data=self.data or named,
            fold=fold,
        )


def data_record(data: Dataset, source: DataSource) -> dict[str, Any]:
    """Say in bmc.json which data this was, well enough to find it and to see that it changed."""
    # Pairs of texts to embed are split into single texts, and are read again from both columns.
    # Words have no column of texts; a .jsonl file may have them under another name.
    columns = source.text_column if data.task in (EMBEDDING, TOKENS) else data.columns
    return {
        "reference": source.data,
        "location": data.location,
        "text_columns": list(columns),
        **({"features": list(data.features)} if data.kind == "features" else {}),
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
