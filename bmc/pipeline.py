"""Raw text in, label and score out: what an application embeds; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import targets
from bmc.bundle import Bundle
from bmc.errors import ArtifactError, DataError, UnknownError
from bmc.targets import RuntimeOptions, Session

Row = str | tuple[str, str]


@dataclass(frozen=True)
class Prediction:
    """An answer: the most probable label and its probability."""

    label: str
    score: float


class Classifier:
    """A bundle, ready to answer; close it, or use it as a context manager, to free its memory."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        self.bundle = bundle
        self.session: Session = targets.load(bundle.manifest.target).load(bundle, options)

    @overload
    def __call__(self, text: Row) -> Prediction: ...
    @overload
    def __call__(self, text: list[str] | list[tuple[str, str]]) -> list[Prediction]: ...
    def __call__(
        self, text: Row | list[str] | list[tuple[str, str]]
    ) -> Prediction | list[Prediction]:
        """Classify a text (a pair of texts for pair models), or a list of them in one batch.

        Raises:
            DataError: a pair was given to a model of single texts, or the other way round.
        """
        if isinstance(text, str | tuple):
            return self._answers([text])[0]
        return self._answers(list(text)) if len(text) else []

    def logits(
        self,
        rows: Sequence[tuple[str, ...]],
        batch_size: int = 32,
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Return the logits (rows, classes), computed in batches of rows of like length.

        Args:
            rows: text columns of each row.
            batch_size: rows a batch; fewer where the engine was built for fewer.
            advance: called with the number of rows of each batch that is done.
        """
        encoder = self.bundle.encoder
        found = np.empty((len(rows), len(self.bundle.manifest.labels)), np.float32)
        size = min(batch_size, self.bundle.manifest.build.get("max_batch", batch_size))
        for places, inputs in encoder.batches(encoder.encode(rows), size):
            logits = self._first(self.session.run(inputs))
            if logits.shape != (len(places), found.shape[1]):
                raise ArtifactError(
                    f"bundle {self.bundle.path} names {found.shape[1]} labels, but its model "
                    f"answers with shape {logits.shape}; export it again"
                )
            found[places] = logits
            if advance:
                advance(len(places))
        return found

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.__exit__(None, None, None)

    def _answers(self, texts: Sequence[Row]) -> list[Prediction]:
        rows = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        columns = self.bundle.manifest.text.columns
        for row in rows:
            if len(row) != columns:
                raise DataError(f"the model takes {columns} text(s) a row; {len(row)} were given")
        logits = self.logits(rows)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        best = probabilities.argmax(axis=1)
        labels = self.bundle.manifest.labels
        return [
            Prediction(labels[place], float(row[place]))
            for place, row in zip(best, probabilities, strict=True)
        ]

    def _first(self, outputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        return outputs[self.bundle.manifest.outputs[0].name]


def load(path: str | Path, threads: int = 0) -> Classifier:
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
    return Classifier(bundles.read(Path(path)), RuntimeOptions(threads=threads))
