"""Answer rows with a bundle."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bmc import bundle as bundles
from bmc import console, plugins, workspace
from bmc.bundle import Bundle
from bmc.errors import BmcError, DataError, UnknownError, UsageError
from bmc.inputs.image import unread_parts
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.workflows.options import Asking
from bmc.workflows.rows import InputRow, from_arguments, from_stream


@dataclass(frozen=True)
class Answered:
    """A bundle's answers to rows.

    Args:
        path: the bundle's folder.
        rows: that were asked.
        answers: to each row: a Prediction, a number, or the file of a picture; None for none.
        errors: why a row has no answer, by its number from 1.
    """

    path: Path
    rows: tuple[InputRow, ...]
    answers: tuple[Any, ...]
    errors: Mapping[int, BmcError]

    @property
    def is_complete(self) -> bool:
        """Tell whether every row has an answer; a blank text needs none."""
        return all(self.rows[number - 1].blank for number in self.errors)


def answer(
    reference: str | None,
    arguments: Sequence[str],
    asking: Asking = Asking(),  # noqa: B008  frozen
    stream: TextIO | None = None,
) -> Answered:
    """Find a bundle, read rows, and answer them.

    Args:
        reference: a bundle's folder, or its name in the workspace; the newest when None.
        arguments: rows, or files with rows; the lines of `stream` where there are none.
        asking: how rows are read and answered.
        stream: such as standard input; None where there is none.

    Raises:
        UnknownError: there is no such bundle, or an argument leads to no file.
        UsageError: the rows are not what the bundle answers.
        DataError: there are no rows, or they cannot be read.
        BmcError: no row at all could be answered; the first row's error.
    """
    try:
        made = find_bundle(reference, asking.images)
    except UnknownError as error:
        if arguments or not reference:
            raise
        raise UnknownError(f"{error} (the bundle comes first: bmc predict BUNDLE ROW)") from error
    kind = str(made.manifest.preprocessing.get("kind"))
    columns = asking.text_column or text_columns_of(made)
    if arguments:
        rows = from_arguments(kind, arguments, asking.pair, columns)
    else:
        rows = from_stream(kind, stream)
    return predict(made, rows, asking.threads, asking.images)


def find_bundle(reference: str | None, images: Path | None = None) -> Bundle:
    """Find the bundle that is to answer.

    Args:
        reference: a bundle's folder, or its name in the workspace; the newest when None.
        images: where a generator writes its pictures.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: it is a generator, and no folder is named for its pictures.
    """
    folder = workspace.find(reference, "bundle") if reference else workspace.newest("bundle")
    made = bundles.read(folder)
    if made.manifest.task == "generation" and not images:
        raise UsageError("a generator writes pictures: name a folder for them with --images DIR")
    return made


def text_columns_of(made: Bundle) -> tuple[str, ...]:
    """Return the text columns of the data that a bundle's model was trained on."""
    data = made.manifest.lineage.get("data")
    columns = data.get("text_columns") if isinstance(data, dict) else None
    if isinstance(columns, list) and columns and all(isinstance(name, str) for name in columns):
        return tuple(columns)
    return ("text",)


def predict(
    made: Bundle, rows: Sequence[InputRow], threads: int = 0, images: Path | None = None
) -> Answered:
    """Answer rows; those that cannot be answered are said.

    Args:
        made: the bundle.
        rows: what to answer.
        threads: threads of the CPU; 0 leaves the choice to the runtime.
        images: where a generator writes its pictures.

    Raises:
        DataError: there are no rows.
        UsageError: the model answers pairs, and a row is a single text.
        BmcError: no row at all could be answered; the first row's error.
    """
    if not rows:
        raise DataError("no rows to predict: standard input is empty")
    if made.manifest.preprocessing.get("columns") == 2:
        _check_pairs(rows)
    if made.manifest.preprocessing.get("kind") == "image":
        _say_unread([row.row for row in rows if not row.error])
    failed = [row.error for row in rows if row.error]
    if len(failed) == len(rows):
        raise failed[0]
    with Pipeline(made, RuntimeOptions(threads=threads)) as pipeline:
        answers = pipeline([row.row for row in rows], errors="return")
    errors = {
        number: row.error or answer
        for number, (row, answer) in enumerate(zip(rows, answers, strict=True), start=1)
        if row.error or isinstance(answer, BmcError)
    }
    if len(errors) == len(rows):
        raise errors[1]
    shown = [None if number in errors else answer for number, answer in enumerate(answers, start=1)]
    if made.manifest.task == "generation" and images:
        shown = _write_pictures(shown, [row.shown for row in rows], images)
    for error in errors.values():
        console.note(f"no answer: {error}")
    console.note(f"{made.path} answers")
    return Answered(made.path, tuple(rows), tuple(shown), errors)


def _check_pairs(rows: Sequence[InputRow]) -> None:
    """Refuse single texts before a model of sentence pairs is loaded for them.

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


def _say_unread(images: Sequence[Any]) -> None:
    """Say how many images have transparency or later frames, which the model does not see."""
    unread: Counter[str] = Counter()
    for image in images:
        with suppress(DataError):  # one that cannot be read is said where it is answered
            unread.update(unread_parts(image))
    for part, count in unread.items():
        console.note(f"{count} of {len(images)} images have {part}, which the model does not see")


def _write_pictures(
    pictures: Sequence[Any], names: Sequence[str], folder: Path
) -> list[str | None]:
    """Write pictures as .png files; return their paths.

    Raises:
        MissingError: Pillow is not installed.
        UsageError: a file stands where the folder would be.
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
