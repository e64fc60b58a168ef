"""bmc predict"""

from __future__ import annotations

import importlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bmc import bundle as bundles
from bmc import console, plugins, workspace
from bmc.cli._common import Answer, Common
from bmc.errors import DataError, UnknownError, UsageError
from bmc.pipeline import Pipeline, Prediction
from bmc.targets import RuntimeOptions


def predict(
    bundle: str | None = None,
    /,
    *row: str,
    pair: tuple[str, ...] = (),
    threads: int = 0,
    images: Path | None = None,
    common: Common = Common(),  # noqa: B008  frozen
) -> Answer:
    """Answer rows with a bundle.

    Without rows, lines are read from standard input.

    Args:
        bundle: a bundle's folder, or its name in the workspace.
        row: texts; image files; series as .npy or .csv files (a step a line); or, for a
            generator, numbers that seed its noise. For a model of sentence pairs, the first texts.
        pair: for a model of sentence pairs: the second of each pair, as often as there are texts.
        threads: threads of the CPU; 0 leaves the choice to the run time.
        images: for a generator: the folder for the .png files.
    """
    common.begin()
    folder = _bundle(bundle, row) if bundle else workspace.newest("bundle")
    made = bundles.read(folder)
    typed = list(row)
    if not typed:
        if sys.stdin.isatty():
            raise DataError(f"nothing to answer: bmc predict {folder} 'some text'")
        typed = [line.strip() for line in sys.stdin if line.strip()]
    if not typed or not all(line.strip() for line in typed):
        raise DataError("an empty text cannot be classified")
    if pair and len(pair) != len(typed):
        raise DataError(f"{len(typed)} texts but {len(pair)} --pair texts; give one for each")
    if made.manifest.task == "generation" and not images:
        raise UsageError("a generator writes pictures: name a folder for them with --images DIR")
    kind = made.manifest.preprocessing.get("kind")
    rows: list[Any] = list(zip(typed, pair, strict=True)) if pair else typed
    if kind == "series":
        rows = [_series(Path(path)) for path in typed]
    elif kind == "image":
        rows = [_existing(Path(path)) for path in typed]
    with Pipeline(made, RuntimeOptions(threads=threads)) as pipeline:
        answers = pipeline(rows)
    if made.manifest.task == "generation" and images:
        answers = _written(answers, typed, images)
    console.note(f"{folder} answers")
    return Answer(
        {"bundle": str(folder), "answers": [_facts(answer) for answer in answers]},
        tuple(f"{_shown(answer)}  {line}" for answer, line in zip(answers, typed, strict=True)),
    )


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


def _shown(answer: Any) -> str:
    if isinstance(answer, Prediction):
        return f"{answer.label} {answer.score:.3f}"
    return f"{answer:.4g}" if isinstance(answer, float) else str(answer)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UnknownError(f"no image file {str(path)!r}")
    return path


def _series(path: Path) -> Any:
    """Read a series (steps, channels)."""
    if not path.is_file():
        raise UnknownError(
            f"no file {str(path)!r} with a series (.npy, or .csv with a step a line)"
        )
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        return np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float32)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is no table of numbers: {error}") from error


def _written(pictures: list[Any], names: list[str], folder: Path) -> list[str]:
    try:
        pillow = importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise plugins.missing(error, "writing pictures") from error
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture, name in zip(pictures, names, strict=True):
        paths.append(str(folder / f"{name}.png"))
        flat = picture[:, :, 0] if picture.shape[2] == 1 else picture
        pillow.fromarray(flat).save(paths[-1])
    return paths
