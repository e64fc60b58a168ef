"""Raw rows in, answers out: what an application embeds; needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import targets
from bmc.bundle import Bundle
from bmc.errors import ArtifactError, UnknownError
from bmc.inputs import Many, ordered_batches
from bmc.targets import RuntimeOptions, Session


@dataclass(frozen=True)
class Prediction:
    """A classifier's answer: the most probable label and its probability."""

    label: str
    score: float


Answer = Prediction | float | NDArray[np.uint8]
"""Of a classifier a Prediction, of a regression a number, of a generator an image."""


class Pipeline:
    """A bundle, ready to answer; close it, or use it as a context manager, to free its memory."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        self.bundle = bundle
        self.session: Session = targets.load(bundle.manifest.target).load(bundle, options)

    def __call__(self, row: Any) -> Any:
        """Answer one row, or a list of rows in batches.

        Args:
            row: what the model was trained on: a text (a tuple of two for pair models), an image
                (a file, or bytes (height, width[, channels])), a series (steps, channels), or a
                number that seeds a generator. A list holds several.

        Returns:
            the answer to a row, or a list of them: see `Answer`.

        Raises:
            DataError: a row is not what the model takes.
        """
        if isinstance(row, list):
            return self._answers(row) if row else []
        return self._answers([row])[0]

    def outputs(
        self,
        rows: Many,
        batch_size: int = 32,
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Return the model's first output for each row (rows, ...), computed in batches.

        Args:
            rows: raw rows.
            batch_size: rows a batch; fewer where the engine was built for fewer.
            advance: called with the number of rows of each batch that is done.
        """
        encoder, info = self.bundle.encoder, self.bundle.manifest.outputs[0]
        shape = tuple(size for size in info.shape[1:] if isinstance(size, int))
        found = np.empty((len(rows), *shape), np.float32)
        size = min(batch_size, self.bundle.manifest.build.get("max_batch", batch_size))
        for places, arrays in ordered_batches(encoder, encoder.encode(rows), size):
            answers = self.session.run(arrays)[info.name]
            if answers.shape != (len(places), *shape):
                raise ArtifactError(
                    f"bundle {self.bundle.path} says that a row is answered with shape {shape}, "
                    f"but its model answers {answers.shape[1:]}; export it again"
                )
            found[places] = answers
            if advance:
                advance(len(places))
        return found

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.__exit__(None, None, None)

    def _answers(self, rows: list[Any]) -> list[Answer]:
        outputs = self.outputs(rows)
        manifest = self.bundle.manifest
        if manifest.task == "regression":
            return [float(value) for value in outputs[:, 0]]
        if manifest.task == "generation":
            pixels = np.clip(np.round((outputs + 1) * 127.5), 0, 255).astype(np.uint8)
            return list(pixels.transpose(0, 2, 3, 1))
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        best = probabilities.argmax(axis=1)
        return [
            Prediction(manifest.labels[place], float(row[place]))
            for place, row in zip(best, probabilities, strict=True)
        ]


def load(path: str | Path, threads: int = 0) -> Pipeline:
    """Load a bundle for inference.

    Args:
        path: the folder that `bmc export` wrote.
        threads: threads of the CPU; 0 leaves the choice to the run time.

    Raises:
        UnknownError: there is no such folder.
        ArtifactError: the bundle is damaged or too new.
        MissingError: the run time that it needs is not installed.
    """
    if not Path(path).is_dir():
        raise UnknownError(f"no bundle at {str(path)!r}")
    return Pipeline(bundles.read(Path(path)), RuntimeOptions(threads=threads))
