"""Contract of named data sets, which `--data NAME` loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bmc.contracts.base import Contract, function, instance_of, value
from bmc.plugins import Kind

if TYPE_CHECKING:
    from bmc.data import Table

HINT = (
    "bmc datasets lists all; a .csv, .tsv, .jsonl, .json, .parquet or .npz file, imagefolder:DIR, "
    "audiofolder:DIR and hf:NAME work too; with --task tokens a .conll, .txt or .jsonl file"
)


@dataclass(frozen=True, kw_only=True)
class DataSet(Contract):
    """Describe a data set; the file `bmc/data/NAME.py` ends with `DATA_SET = DataSet(...)`.

    The file must not import optional packages at its top, since lists and completion import the
    files of all data sets.

    Args:
        about: description in one sentence, for lists.
        table: function that returns rows, labels, and the official test split if there is one.
        asset: name in `bmc.assets` of the downloaded files; None where no files are downloaded.
        license: license of the data; "" where the asset states the license.
        sentences: function that returns unlabeled texts for distillation (`--transfer NAME`);
            None where there are none.
    """

    about: str = field(metadata=value(str))
    table: Callable[[], Table] = field(metadata=function())
    asset: str | None = field(default=None, metadata=value(str))
    license: str = field(default="", metadata=value(str))
    sentences: Callable[[], Sequence[str]] | None = field(default=None, metadata=function())


DATA_SETS = Kind(
    "data set", "bmc.data", "bmc.data", "DATA_SET", instance_of(DataSet, "DATA_SET"), HINT
)


def data_set(name: str, made_with: object = ()) -> DataSet:
    """Return a data set's description by name; see `Kind.load` for arguments and errors."""
    return DATA_SETS.load(name, made_with)


def with_sentences() -> list[str]:
    """Return the names of the data sets that have unlabeled texts."""
    data_sets = DATA_SETS.usable().items()
    return [name for name, description in data_sets if description.sentences is not None]
