"""bmc datasets"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered
from bmc.workflows.data import Columns, DataSource


def datasets(name: str | None = None, *, columns: Columns = Columns()) -> Rendered:
    """List data sets, or show one: its size, classes, lengths and ten examples.

    Args:
        name: a data set's name, a .csv, .tsv, .jsonl, .json, .parquet, .arrow or .npz file,
            imagefolder:DIR, audiofolder:DIR, or hf:NAME, to show.

    Example:
        bmc datasets
        bmc datasets reviews.csv --text-column body --label-column stars
    """
    from bmc.rendering import data as render

    if not name:
        return render.listed()
    source = DataSource(**vars(columns), data=name)
    return render.described(source.read())
