"""bmc predict"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmc.cli.options import Answer, BundleName, Coded
from bmc.errors import UnknownError

if TYPE_CHECKING:
    from bmc.bundle import Bundle

PANEL = "Rows"


def predict(
    bundle: BundleName = None,
    /,
    *row: str,
    pair: tuple[str, ...] = (),
    text_column: tuple[str, ...] = (),
    threads: int = 0,
    images: Path | None = None,
    common: Coded = Coded(),
) -> Answer:
    """Predict rows with a bundle.

    Without rows, standard input is read, a row per line. The prediction of an empty text is null.
    So is that of any other row that cannot be read; the exit code is 2 then.

    Args:
        bundle: a bundle's folder, or its name in the workspace.
        row: texts, or files with texts (.csv, .jsonl, .parquet, or .txt with a text per line);
            image files; time series as .npy or .csv files (a time step per line); for a generator,
            seeds of its noise. For a model of sentence pairs, the first sentences.
        pair: second sentence of a pair, once for each row.
        text_column: column of the text; two for sentence pairs. The default is the column that the
            model was trained on.
        threads: CPU threads; 0 lets the run time choose.
        images: folder for the .png files of a generator.

    Example:
        bmc predict tiny-movie-reviews-onnx "an hour of wit and charm"
        bmc predict tiny-movie-reviews-onnx reviews.csv --text-column body --json
    """
    from bmc.cli._stdin import from_stdin
    from bmc.cli.shown.predictions import answered
    from bmc.workflows import predict as workflow
    from bmc.workflows.rows import from_arguments

    common.begin()
    made = _bundle(bundle, row, images)
    kind = str(made.manifest.preprocessing.get("kind"))
    columns = text_column or workflow.text_columns_of(made)
    rows = from_arguments(kind, row, pair, columns) if row else from_stdin(kind)
    return answered(workflow.predict(made, rows, threads, images))


def _bundle(reference: str | None, row: tuple[str, ...], images: Path | None) -> Bundle:
    """Find the bundle; say so if what was typed in its place looks like a row."""
    from bmc.workflows import predict as workflow

    try:
        return workflow.find_bundle(reference, images)
    except UnknownError as error:
        if row or not reference:
            raise
        raise UnknownError(f"{error} (the bundle comes first: bmc predict BUNDLE ROW)") from error
