"""Raw rows in, answers out: what an application embeds; needs no torch.

One pipeline serves a whole process: threads may call it at the same time, and a list or an
iterator of any length is answered in batches, so that memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc.bundle import Bundle
from bmc.errors import ArtifactError, BmcError, DataError, SettingError, UnknownError, UsageError
from bmc.inputs import Many, ordered_batches
from bmc.sessions import SharedSession
from bmc.targets import RuntimeOptions, Session

_BATCH = 32
_WINDOW = 32 * _BATCH  # rows that are encoded, sorted by length and answered together


@dataclass(frozen=True)
class Prediction:
    """A classifier's answer: the most probable label and its probability."""

    label: str
    score: float


Answer = Prediction | float | NDArray[np.uint8]
"""Of a classifier a Prediction, of a regression a number, of a generator an image."""


class Pipeline:
    """A bundle, ready to answer; safe to share between threads.

    Close it, or use it as a context manager, to free its memory. In a forked child it answers as
    in the parent. It cannot be pickled: load the bundle in each process.

    Example:
        >>> with bmc.load("bmc-runs/tiny-movie-reviews-onnx") as classify:
        ...     classify(["an hour of wit and charm", "it never finds its feet"])
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        here = bundle.path.is_absolute()
        self.bundle = bundle if here else replace(bundle, path=bundle.path.absolute())
        self._shared = SharedSession(self.bundle, options)
        self.kind = self.bundle.encoder.kind  # the encoder's files are read now, not at a call

    @property
    def session(self) -> Session:
        """The target's session, which runs tensors.

        Raises:
            UsageError: the pipeline is closed.
        """
        return self._shared.current()

    def __call__(self, row: Any, errors: Literal["raise", "return"] = "raise") -> Any:
        """Answer one row, a list of rows, or an iterator of rows.

        Args:
            row: what the model was trained on: a text (a tuple of two for pair models), an image
                (a file, or bytes (height, width[, channels])), a series (steps, channels), or a
                number that seeds a generator. A list holds several; an iterator (a generator)
                any number.
            errors: what becomes of a row of a list or an iterator that cannot be answered:
                "raise" its error, which ends the call, or "return" it in the answer's place.

        Returns:
            the answer to a row, or a list of them: see `Answer`. For an iterator an iterator,
            which reads some 1,000 rows ahead.

        Raises:
            DataError: a row is not what the model takes; the message counts rows from 1.
            ArtifactError: the model answers with NaN or infinite numbers.
            UsageError: the pipeline is closed.
        """
        if errors not in ("raise", "return"):
            raise SettingError(f'errors is {errors!r}; "raise" and "return" are possible')
        if isinstance(row, Iterator):
            return self._stream(row, errors == "raise")
        if isinstance(row, list):
            return list(self._stream(iter(row), errors == "raise"))
        answer = self._answers(self.outputs([row]))[0]
        if answer is None:
            raise self._not_finite("this row")
        return answer

    def outputs(
        self,
        rows: Many,
        batch_size: int = _BATCH,
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Return the model's first output for each row (rows, ...), computed in batches.

        All rows are encoded at once and sorted by length: where they do not fit in memory, call
        the pipeline with an iterator.

        Args:
            rows: raw rows.
            batch_size: rows a batch; fewer where the engine was built for fewer.
            advance: called with the number of rows of each batch that is done.

        Raises:
            DataError: a row is not what the model takes.
            ArtifactError: the model's answers have another shape than the bundle says.
            UsageError: the pipeline is closed.
        """
        size, info = self._batch_size(batch_size), self.bundle.manifest.outputs[0]
        shape = tuple(size for size in info.shape[1:] if isinstance(size, int))
        outputs = np.empty((len(rows), *shape), np.float32)
        answered = np.zeros(len(rows), bool)
        with self._shared.in_use() as session:
            encoder = self.bundle.encoder
            for places, arrays in ordered_batches(encoder, encoder.encode(rows), size):
                answers = session.run(arrays)[info.name]
                if answers.shape != (len(places), *shape):
                    raise ArtifactError(
                        f"bundle {self.bundle.path} says that a row is answered with shape "
                        f"{shape}, but its model answers {answers.shape[1:]}; export it again"
                    )
                outputs[places] = answers
                answered[places] = True
                if advance:
                    advance(len(places))
        if not answered.all():  # np.empty holds whatever lay in memory
            raise ArtifactError(
                f"bundle {self.bundle.path}: {len(rows)} rows were asked, "
                f"{np.count_nonzero(answered)} answered; export it again"
            )
        return outputs

    def close(self) -> None:
        """Free the model; a call that is under way in another thread ends first.

        Closing twice does no harm; a call afterwards is a UsageError.
        """
        self._shared.close()
        self.bundle = Bundle(self.bundle.path, self.bundle.manifest)  # without its encoder

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a pipeline cannot be pickled or copied; pass the folder on and load it there: "
            f"bmc.load({str(self.bundle.path)!r})"
        )

    def _stream(self, rows: Iterator[Any], strict: bool) -> Iterator[Any]:
        """Answer rows window by window, so that no more than one is in memory."""
        first = 1
        while window := list(islice(rows, _WINDOW)):
            yield from self._window(window, first, strict)
            first += len(window)

    def _window(self, rows: list[Any], first: int, strict: bool) -> list[Answer | BmcError]:
        """Answer rows, of which the first is counted as `first`; errors stand in their places.

        Raises:
            BmcError: a row has no answer, and `strict` is set.
        """
        bad: dict[int, BmcError] = {}
        try:
            outputs = self.outputs(rows)
        except DataError:
            bad = self._bad_rows(rows, first, strict)
            if not bad:  # each is right alone; it is their company that the encoder refuses
                raise
            good = [row for place, row in enumerate(rows) if place not in bad]
            outputs = self.outputs(good) if good else np.empty((0, 1), np.float32)
        answers = iter(self._answers(outputs) if len(outputs) else [])
        found: list[Answer | BmcError] = []
        for place in range(len(rows)):
            answer = bad.get(place) or next(answers)
            if answer is None:
                answer = self._not_finite(f"row {first + place}")
                if strict:
                    raise answer
            found.append(answer)
        return found

    def _bad_rows(self, rows: list[Any], first: int, strict: bool) -> dict[int, BmcError]:
        """Return the errors of rows that cannot be encoded alone, by their places."""
        encoder, bad = self.bundle.encoder, dict[int, BmcError]()
        for place, row in enumerate(rows):
            try:
                encoder.batch(encoder.encode([row]), [0])
            except DataError as error:
                bad[place] = _counted(error, first + place)
                if strict:
                    raise bad[place] from error
        return bad

    def _batch_size(self, wanted: int) -> int:
        """Return the rows of a batch: what is wanted, or what the engine was built for."""
        if wanted < 1:
            raise SettingError(f"batch_size is {wanted}; it must be 1 or more")
        most = self.bundle.manifest.build.get("max_batch", wanted)
        if type(most) is not int or most < 1:
            raise ArtifactError(
                f"bundle {self.bundle.path}: max_batch is {most!r:.40}, not a number from 1; "
                "export it again"
            )
        return min(wanted, most)

    def _answers(self, outputs: NDArray[np.float32]) -> list[Answer | None]:
        """Turn the model's outputs (rows, ...) into answers; None where one is not finite."""
        return answers_of(outputs, self.bundle.manifest.task, self.bundle.manifest.labels)

    def _not_finite(self, row: str) -> ArtifactError:
        return ArtifactError(
            f"bundle {self.bundle.path}: its model answers {row} with NaN or infinite numbers; "
            f"bmc check {self.bundle.path} says whether it is damaged"
        )


def answers_of(
    outputs: NDArray[np.float32], task: str, labels: Sequence[str]
) -> list[Answer | None]:
    """Turn a model's outputs into answers; None where one is not finite.

    Args:
        outputs: float32 (rows, ...): logits, values (rows, 1), or pixels in [-1, 1].
        task: "classification", "regression" or "generation".
        labels: names of the classes.
    """
    answers: list[Answer]
    if task == "regression":
        values = outputs[:, :1]
        answers = [float(value) for value in outputs[:, 0]]
    elif task == "generation":
        values = outputs.reshape(len(outputs), -1)
        pixels = np.clip(np.round((outputs + 1) * 127.5), 0, 255)
        answers = list(np.nan_to_num(pixels).astype(np.uint8).transpose(0, 2, 3, 1))
    else:
        values = _softmax(outputs)
        answers = [
            Prediction(labels[place], float(row[place]))
            for place, row in zip(values.argmax(axis=1), values, strict=True)
        ]
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(values), axis=1)
    return [answer if fine else None for answer, fine in zip(answers, finite, strict=True)]


def load(path: str | Path, threads: int = 0) -> Pipeline:
    """Load a bundle for inference; its files are read now, and not needed afterwards.

    Nothing is written and nothing is looked up outside the bundle and the installed packages.
    (A forked child reads the bundle again.)

    Args:
        path: the folder that `bmc export` wrote.
        threads: threads of the CPU; 0 leaves the choice to the runtime.

    Raises:
        UnknownError: there is no such folder.
        ArtifactError: the bundle is damaged or too new.
        MissingError: the runtime that it needs is not installed.
    """
    folder = Path(path)
    try:
        there = folder.exists()
    except ValueError:  # a NUL in the name
        there = False
    if not there:
        raise UnknownError(f"no bundle at {str(path)!r}{_seen_from(folder)}")
    return Pipeline(bundles.read(folder.absolute()), RuntimeOptions(threads=threads))


def _seen_from(folder: Path) -> str:
    """Say what a relative path was taken from."""
    if folder.is_absolute():
        return ""
    try:
        return f" (the working folder is {Path.cwd()})"
    except FileNotFoundError:
        return " (the working folder was deleted; name the bundle's whole path)"


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):  # NaN is looked for afterwards
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float32] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def _counted(error: DataError, number: int) -> DataError:
    """Return a row's error with the row's number; encoded alone, the row was counted as 1."""
    kind, _, rest = str(error).partition(" 1")
    if kind in ("row", "series", "text", "image") and not rest[:1].isdigit():
        return DataError(f"{kind} {number}{rest}")
    return DataError(f"row {number}: {error}")
