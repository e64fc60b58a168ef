"""bmc datasets"""

from __future__ import annotations

from rich.table import Table

from bmc import assets, plugins
from bmc import data as data_sets
from bmc.cli._common import Answer, Common
from bmc.data import Dataset

_EXAMPLES = 5


def datasets(
    name: str | None = None,
    /,
    *,
    text_column: tuple[str, ...] = ("text",),
    label_column: str = "label",
    common: Common = Common(),  # noqa: B008  frozen
) -> Answer:
    """List data sets, or show one.

    Args:
        name: a data set's name, or a .csv, .jsonl or .parquet file, to show.
        text_column: the file's column with the text; name two for sentence pairs.
        label_column: the file's column with the class.
    """
    common.begin()
    if name:
        return _one(data_sets.load(name, text_column, label_column))
    table = Table("data set", "what it is", "licence")
    found = []
    for known in plugins.names("bmc.data"):
        module = plugins.load("bmc.data", known, "data set")
        what = (module.__doc__ or "").strip().splitlines()[0].partition(": ")[2].rstrip(".")
        licence = assets.ASSETS[module.ASSET].licence if module.ASSET else "with scikit-learn"
        table.add_row(known, what, licence)
        found.append({"name": known, "what": what, "licence": licence})
    return Answer(
        {"datasets": found},
        (
            table,
            "your own: --data FILE.csv (.jsonl, .parquet) --text-column ... --label-column ...",
        ),
    )


def _one(data: Dataset) -> Answer:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    table = Table("part", "rows", *data.labels, title=data.name)
    classes = {part: data_sets.histogram(rows, data.labels) for part, rows in parts.items()}
    for part, rows in parts.items():
        table.add_row(part, str(len(rows)), *(str(count) for count in classes[part].values()))
    shown = [
        f"{data.labels[label]}: {' | '.join(row)[:100]}"
        for row, label in zip(data.train.texts[:_EXAMPLES], data.train.labels, strict=False)
    ]
    return Answer(
        {
            "name": data.name,
            "columns": list(data.columns),
            "rows": {part: len(rows) for part, rows in parts.items()},
            "classes": classes,
            "fingerprint": data.fingerprint,
        },
        (table, *shown),
    )
