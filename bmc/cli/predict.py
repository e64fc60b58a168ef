"""bmc predict"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmc import bundle as bundles
from bmc import console, plugins, workspace
from bmc.bundle import Bundle
from bmc.cli._common import Answer, Common
from bmc.cli._stdin import from_stdin
from bmc.errors import BmcError, DataError, UnknownError, UsageError
from bmc.inputs.image import unread_parts
from bmc.pipeline import Pipeline, Prediction
from bmc.targets import RuntimeOptions
from bmc.workflows.rows import Asked, from_arguments


def predict(
    bundle: str | None = None,
    /,
    *row: str,
    pair: tuple[str, ...] = (),
    text_column: tuple[str, ...] = (),
    threads: int = 0,
    images: Path | None = None,
    common: Common = Common(),  # noqa: B008  frozen
) -> Answer:
    """Answer rows with a bundle.

    Without rows, lines are read from standard input. An empty text is answered with null; any
    other row that cannot be answered too, and the exit code is 2.

    Args:
        bundle: a bundle's folder, or its name in the workspace.
        row: texts, or tables of them (.csv, .jsonl, .parquet, a text a line in .txt); image
            files; series as .npy or .csv files (a step a line); or, for a generator, numbers that
            seed its noise. For a model of sentence pairs, the first texts.
        pair: for a model of sentence pairs: the second of each pair, as often as there are texts.
        text_column: a table's column with the text; the one that the model was trained on when
            left out. Name two for sentence pairs.
        threads: threads of the CPU; 0 leaves the choice to the run time.
        images: for a generator: the folder for the .png files.
    """
    common.begin()
    folder = _bundle(bundle, row) if bundle else workspace.newest("bundle")
    made = bundles.read(folder)
    if made.manifest.task == "generation" and not images:
        raise UsageError("a generator writes pictures: name a folder for them with --images DIR")
    kind = str(made.manifest.preprocessing.get("kind"))
    columns = text_column or _trained_on(made)
    asked = from_arguments(kind, row, pair, columns) if row else from_stdin(kind)
    if not asked:
        raise DataError("nothing to answer: standard input is empty")
    if made.manifest.preprocessing.get("columns") == 2:
        _check_pairs(asked)
    if kind == "image":
        _say_unread([one.row for one in asked if not one.error])
    failed = [one.error for one in asked if one.error]
    if len(failed) == len(asked):
        raise failed[0]
    with Pipeline(made, RuntimeOptions(threads=threads)) as pipeline:
        answers = pipeline([one.row for one in asked], errors="return")
    errors = {
        number: one.error or answer
        for number, (one, answer) in enumerate(zip(asked, answers, strict=True), start=1)
        if one.error or isinstance(answer, BmcError)
    }
    if len(errors) == len(asked):
        raise errors[1]
    shown = [None if number in errors else one for number, one in enumerate(answers, start=1)]
    if made.manifest.task == "generation" and images:
        shown = _written(shown, [one.shown for one in asked], images)
    for error in errors.values():
        console.note(f"no answer: {error}")
    console.note(f"{folder} answers")
    return Answer(
        {
            "bundle": str(folder),
            "answers": [_facts(answer) for answer in shown],
            "rows": [one.shown for one in asked],
            "notes": [{"row": number, "note": str(error)} for number, error in errors.items()],
        },
        tuple(_line(answer, one.shown) for answer, one in zip(shown, asked, strict=True)),
        exit_code=2 if any(not asked[number - 1].blank for number in errors) else 0,
    )


def _check_pairs(asked: Sequence[Asked]) -> None:
    """Refuse single texts before a model of sentence pairs is loaded for them."""
    single = (
        one for one in asked if not one.error and (isinstance(one.row, str) or len(one.row) == 1)
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


def _trained_on(made: Bundle) -> tuple[str, ...]:
    """Return the text columns of the data that a bundle's model was trained on."""
    data = made.manifest.lineage.get("data")
    columns = data.get("text_columns") if isinstance(data, dict) else None
    if isinstance(columns, list) and columns and all(isinstance(one, str) for one in columns):
        return tuple(columns)
    return ("text",)


def _bundle(reference: str, row: tuple[str, ...]) -> Path:
    """Find the bundle; say so if what was typed in its place looks like a row."""
    try:
        return workspace.find(reference, "bundle")
    except UnknownError as error:
        if row:
            raise
        raise UnknownError(f"{error} (the bundle comes first: bmc predict BUNDLE ROW)") from error


def _facts(answer: Any) -> Any:
    return asdict(answer) if isinstance(answer, Prediction) else answer


def _line(answer: Any, row: str) -> str:
    """Return an answer and its row in one line, whatever the row holds."""
    written = row.replace("\n", "\\n")
    return f"{_shown(answer)}  {written}"


def _shown(answer: Any) -> str:
    if answer is None:
        return "no answer"
    if isinstance(answer, Prediction):
        return f"{answer.label} {answer.score:.3f}"
    return f"{answer:.4g}" if isinstance(answer, float) else str(answer)


def _written(pictures: list[Any], names: list[str], folder: Path) -> list[str | None]:
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
        paths.append(str(folder / f"{name}.png"))
        flat = picture[:, :, 0] if picture.shape[2] == 1 else picture
        pillow.fromarray(flat).save(paths[-1])
    return paths
