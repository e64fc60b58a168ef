"""bmc predict"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmc.bundle import Bundle
from bmc.cli._common import Answer, Common
from bmc.cli._stdin import from_stdin
from bmc.errors import UnknownError
from bmc.pipeline import Prediction
from bmc.workflows import predict as workflow
from bmc.workflows.predict import Answered
from bmc.workflows.rows import from_arguments


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
    made = _bundle(bundle, row, images)
    kind = str(made.manifest.preprocessing.get("kind"))
    columns = text_column or workflow.text_columns_of(made)
    rows = from_arguments(kind, row, pair, columns) if row else from_stdin(kind)
    return _answered(workflow.predict(made, rows, threads, images))


def _answered(answered: Answered) -> Answer:
    pairs = zip(answered.answers, answered.rows, strict=True)
    return Answer(
        {
            "bundle": str(answered.path),
            "answers": [_facts(answer) for answer in answered.answers],
            "rows": [row.shown for row in answered.rows],
            "notes": [
                {"row": number, "note": str(error)} for number, error in answered.errors.items()
            ],
        },
        tuple(_line(answer, row.shown) for answer, row in pairs),
        exit_code=0 if answered.is_complete else 2,
    )


def _bundle(reference: str | None, row: tuple[str, ...], images: Path | None) -> Bundle:
    """Find the bundle; say so if what was typed in its place looks like a row."""
    try:
        return workflow.find_bundle(reference, images)
    except UnknownError as error:
        if row or not reference:
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
