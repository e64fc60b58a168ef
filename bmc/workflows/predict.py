"""Predict rows with a bundle."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from bmc import bundle as bundles
from bmc import console, plugins, workspace
from bmc.bundle import Bundle
from bmc.contracts.tasks import TENSORS, TOKENS, task
from bmc.errors import BmcError, DataError, UnknownError, UsageError
from bmc.inputs import Encoder, kind_of_rows
from bmc.inputs.features import FeatureEncoder
from bmc.inputs.image import unread_parts
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.workflows.options import PredictOptions
from bmc.workflows.rows import InputRow, from_arguments, from_stream


@dataclass(frozen=True)
class PredictedRows:
    """Rows and a bundle's predictions for them.

    Args:
        path: the bundle's folder.
        rows: rows to predict, in order.
        predictions: for each row a `Prediction`, a number (regression) or the path of a picture
            (generation); None for a row that failed.
        errors: error of each row that failed, by row number from 1.
    """

    path: Path
    rows: tuple[InputRow, ...]
    predictions: tuple[Any, ...]
    errors: Mapping[int, BmcError]

    @property
    def is_complete(self) -> bool:
        """Tell whether every row that is not blank has a prediction."""
        return all(self.rows[number - 1].blank for number in self.errors)


def predict_arguments(
    reference: str | None,
    arguments: Sequence[str],
    options: PredictOptions = PredictOptions(),
    stream: TextIO | None = None,
) -> PredictedRows:
    """Find a bundle, read the rows of a command line, and predict them.

    Args:
        reference: a bundle's folder, its name in the workspace, or a packed bundle; the newest
            bundle when None.
        arguments: rows, or files with rows; without arguments, rows are the lines of `stream`.
        options: how rows are read, and the threads that predict them.
        stream: a text stream such as standard input; None if there is no stream.

    Raises:
        UnknownError: there is no such bundle, or an argument names a file that does not exist.
        UsageError: the bundle's model takes another kind of rows.
        DataError: there are no rows, or they cannot be read.
        BmcError: every row failed; this is the first row's error.
    """
    try:
        bundle = find_bundle(reference, options.images)
    except UnknownError as error:
        if arguments or not reference:
            raise
        raise UnknownError(f"{error} (the bundle comes first: bmc predict BUNDLE ROW)") from error
    kind = str(bundle.manifest.preprocessing.get("kind"))
    columns = options.text_column or text_columns_of(bundle)
    if isinstance(encoder := _encoder_of(bundle), FeatureEncoder):
        if options.text_column:
            raise UsageError("the model takes numbers, no texts: leave --text-column out")
        columns = encoder.settings.columns
    kind_of_arguments = "text" if kind == "words" else kind_of_rows(kind)
    if arguments:
        rows = from_arguments(kind_of_arguments, arguments, options.pair, columns)
    else:
        rows = from_stream(kind_of_arguments, stream)
    if kind == "words":
        rows = [_as_text(row) for row in rows]
    return predict(bundle, rows, options.threads, options.images)


def _as_text(row: InputRow) -> InputRow:
    """Return a row of a table as a text; for a model of words a tuple would be a row of words."""
    is_text = isinstance(row.row, tuple) and len(row.row) == 1
    return replace(row, row=row.row[0]) if is_text else row


def _encoder_of(bundle: Bundle) -> Encoder | None:
    """Return the encoder of a model of numbers, whose columns it names; None for other kinds."""
    return bundle.encoder if bundle.manifest.preprocessing.get("kind") == "features" else None


def find_bundle(reference: str | None, images: Path | None = None) -> Bundle:
    """Find the bundle to predict with.

    Args:
        reference: a bundle's folder, its name in the workspace, or a packed bundle; the newest
            bundle when None.
        images: folder for the pictures of a generator.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: the bundle is a generator, and `images` is None.
    """
    folder = workspace.find(reference, "bundle", packed=True)
    bundle = bundles.read(folder)
    if bundle.manifest.task == TENSORS:
        names = ", ".join(f"{info.name!r}: ARRAY" for info in bundle.manifest.inputs)
        raise UsageError(
            f"{folder} takes arrays by name, which a command line cannot hold; in Python: "
            f"bmc.load({str(folder)!r})({{{names:.200}}})"
        )
    if not task(bundle.manifest.task).has_labels and not images:
        raise UsageError("a generator writes pictures: name a folder for them with --images DIR")
    return bundle


def text_columns_of(bundle: Bundle) -> tuple[str, ...]:
    """Return the text columns of the data that a bundle's model was trained on.

    A model of words predicts texts, which its data may not have had.
    """
    if bundle.manifest.task == TOKENS:
        return ("text",)
    data = bundle.manifest.lineage.get("data")
    columns = data.get("text_columns") if isinstance(data, dict) else None
    if isinstance(columns, list) and columns and all(isinstance(name, str) for name in columns):
        count = bundle.manifest.preprocessing.get("columns")
        return tuple(columns[:count] if isinstance(count, int) else columns)
    return ("text",)


def predict(
    bundle: Bundle, rows: Sequence[InputRow], threads: int = 0, images: Path | None = None
) -> PredictedRows:
    """Predict rows, and report each row that fails.

    Args:
        bundle: the bundle.
        rows: rows to predict.
        threads: threads of the CPU; 0 leaves the choice to the runtime.
        images: folder for the pictures of a generator.

    Raises:
        DataError: there are no rows.
        UsageError: the model takes pairs of texts, and a row is a single text.
        BmcError: every row failed; this is the first row's error.
    """
    if not rows:
        raise DataError("no rows to predict: standard input is empty")
    if bundle.manifest.preprocessing.get("columns") == 2:
        _check_pairs(rows)
    if bundle.manifest.preprocessing.get("kind") == "image":
        _report_unread([row.row for row in rows if not row.error])
    failed = [row.error for row in rows if row.error]
    if len(failed) == len(rows):
        raise failed[0]
    with Pipeline(bundle, RuntimeOptions(threads=threads)) as pipeline:
        predictions = pipeline([row.row for row in rows], errors="return")
        if difference := pipeline.difference():
            console.note(difference)
    errors = {
        number: row.error or prediction
        for number, (row, prediction) in enumerate(zip(rows, predictions, strict=True), start=1)
        if row.error or isinstance(prediction, BmcError)
    }
    if len(errors) == len(rows):
        raise errors[1]
    rendered = [
        None if number in errors else prediction
        for number, prediction in enumerate(predictions, start=1)
    ]
    if not task(bundle.manifest.task).has_labels and images:
        rendered = _write_pictures(rendered, [row.shown for row in rows], images)
    for error in errors.values():
        console.note(f"no answer: {error}")
    console.note(f"{bundle.path} answers")
    return PredictedRows(bundle.path, tuple(rows), tuple(rendered), errors)


def _check_pairs(rows: Sequence[InputRow]) -> None:
    """Check that all rows are pairs of texts, before the model is loaded.

    Raises:
        UsageError: a row is a single text.
    """
    single = (
        row for row in rows if not row.error and (isinstance(row.row, str) or len(row.row) == 1)
    )
    if any(single):
        raise UsageError(
            "the model answers pairs of texts: add --pair SECOND for each, or name a table's two "
            "columns with --text-column"
        )


def _report_unread(images: Sequence[Any]) -> None:
    """Report how many images have transparency or later frames, which the model does not see."""
    unread: Counter[str] = Counter()
    for image in images:
        with suppress(DataError):  # a broken image is reported by its prediction
            unread.update(unread_parts(image))
    for part, count in unread.items():
        console.note(f"{count} of {len(images)} images have {part}, which the model does not see")


def _write_pictures(
    pictures: Sequence[Any], names: Sequence[str], folder: Path
) -> list[str | None]:
    """Write pictures as .png files; return their paths.

    Raises:
        MissingError: Pillow is not installed.
        UsageError: `folder` is the path of a file.
    """
    try:
        pillow = importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise plugins.missing(error, "writing pictures") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"pictures cannot be written into {str(folder)!r}: there is a file in its place; "
            "name another folder with --images"
        ) from error
    paths: list[str | None] = []
    for picture, name in zip(pictures, names, strict=True):
        if picture is None:
            paths.append(None)
            continue
        path = str(folder / f"{name}.png")
        flat = picture[:, :, 0] if picture.shape[2] == 1 else picture
        pillow.fromarray(flat).save(path)
        paths.append(path)
    return paths
