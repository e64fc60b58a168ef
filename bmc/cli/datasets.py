"""bmc datasets"""

from __future__ import annotations

from typing import Annotated

import typer

from bmc.cli import _complete
from bmc.cli.options import Answer, Common, Task

PANEL = "Data"


def datasets(
    name: Annotated[str | None, typer.Argument(autocompletion=_complete.data_sets)] = None,
    /,
    *,
    text_column: tuple[str, ...] = ("text",),
    label_column: str = "label",
    task: Task = "classification",
    common: Common = Common(),
) -> Answer:
    """List data sets, or show one: its size, classes, lengths and ten examples.

    Args:
        name: a data set's name, a .csv, .tsv, .jsonl, .json, .parquet or .npz file,
            imagefolder:DIR, or hf:NAME, to show.
        text_column: column of the text in the file; two for sentence pairs.
        label_column: column of the label in the file.
        task: labels are classes (classification) or numbers (regression).

    Example:
        bmc datasets
        bmc datasets reviews.csv --text-column body --label-column stars
    """
    from bmc.cli.shown.data import described, listed
    from bmc.data import load

    common.begin()
    if name:
        return described(load(name, text_column, label_column, task))
    return listed()
