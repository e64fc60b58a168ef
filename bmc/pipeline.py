"""Predict from raw rows with a bundle: the part of bmc that an application embeds; needs no torch.

One pipeline serves a whole process: several threads may call the pipeline at the same time. Lists
and iterators are computed in batches, and memory does not grow with the length of an iterator.
A packed bundle is loaded from memory where its runtime can; else it is unpacked into a temporary
folder, which is removed when the pipeline is closed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from bmc import batching, deviation, model_outputs, predicting, raw_rows
from bmc import bundle as bundles
from bmc.bundle import Bundle
from bmc.contracts import tasks
from bmc.errors import (
    BmcError,
    OutputsWarning,
    SettingError,
    UnknownError,
    UsageError,
)
from bmc.inputs import Arrays, Many
from bmc.predictions import PipelineOutput
from bmc.sessions import SharedSession, for_target, with_files
from bmc.targets import RuntimeOptions, Session

if TYPE_CHECKING:
    from bmc.listening import ListeningSession

_BATCH_SIZE = 32
_MEMORY_MB = 256.0


class Pipeline:
    """A loaded bundle; several threads may share it.

    Close a pipeline, or use it as a context manager, to free its memory. In a forked child a
    pipeline keeps working, except for OpenVINO and TensorRT, which raise a UsageError. A pipeline
    cannot be pickled: load the bundle in each process.

    Example:
        >>> with bmc.load("bmc-runs/tiny-movie-reviews-onnx") as classify:
        ...     classify(["an hour of wit and charm", "it never finds its feet"])
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        is_absolute = bundle.path.is_absolute()
        self.bundle = bundle if is_absolute else replace(bundle, path=bundle.path.absolute())
        self._path = self.bundle.path  # of a packed bundle, `bundle` may be a temporary folder
        self.bundle, self._remove_files = with_files(self.bundle, self)
        try:
            self._shared = SharedSession(self.bundle, options)
            self.kind = self.bundle.encoder.kind  # reads its files now, not at the first call
        except BaseException:
            self._remove_files()
            raise

    @property
    def session(self) -> Session:
        """The target's session, which runs tensors.

        Raises:
            UsageError: the pipeline is closed.
        """
        return self._shared.current()

    def __call__(self, row: Any, errors: Literal["raise", "return"] = "raise") -> Any:
        """Predict for one row, a list of rows, or an iterator of rows.

        Args:
            row: one raw row, a list of rows, or an iterator of rows. A row has the form of the
                training data: a text (a tuple of two texts for pair models, a tuple of words for
                models that tag words), an image (a file, or uint8 (height, width[, channels])), a
                clip of sound (a file, or float32 in -1..1 or int16 (samples) at 16 kHz), a series
                (steps, channels), numbers (a dictionary by column, or a tuple or array in the order
                of the columns; a data frame is several rows), a tuple of arrays, or a number that
                seeds a generator. The row of an ONNX file of another tool is the model's input
                tensors by name, with their batch axis where there is one.
            errors: "raise" ends the call with the error of the first row that has no prediction;
                "return" returns the error in the place of the row's prediction. For lists and
                iterators.

        Returns:
            a `PipelineOutput` for one row, a list of `PipelineOutput` for a list, and an iterator
            of `PipelineOutput` for an iterator, from which 1,024 rows are read at a time. Sentence
            embeddings of a list are one array, float32 (rows, width), if `errors` is "raise".

        Raises:
            DataError: a row does not have the form of the training data; the message counts rows
                from 1.
            ArtifactError: the outputs of the model are NaN or infinite.
            UsageError: the pipeline is closed.
        """
        _check_errors(errors)
        bundle = self.bundle  # its encoder is kept until this call ends, whoever closes meanwhile
        row = raw_rows.without_frame(row, self.kind)
        if isinstance(row, Iterator):
            return self._stream(row, errors == "raise")
        if isinstance(row, list):
            results = list(self._stream(iter(row), errors == "raise"))
            is_matrix = bundle.manifest.task == tasks.EMBEDDING and errors == "raise"
            return self._matrix(results) if is_matrix else results
        if bundle.manifest.task == tasks.TENSORS:
            return self.tensors(row)
        prediction = predicting.of_outputs(bundle, [row], self.outputs([row]))[0]
        if prediction is None:
            raise predicting.not_finite(bundle, "this row")
        return prediction

    def batch(
        self,
        rows: Iterable[Any],
        size: int = _BATCH_SIZE,
        memory_mb: float = _MEMORY_MB,
        errors: Literal["raise", "return"] = "raise",
    ) -> Iterator[Any]:
        """Predict many rows in batches, with a bound on memory; results come in the rows' order.

        Rows are read as results are taken: as many at a time as fit into memory with their input
        and output tensors, and at most 1,024. Memory that the runtime needs for a batch comes on
        top, and is less with a smaller `size`.

        Args:
            rows: raw rows, in any iterable, such as a generator that reads a file; for a model of
                numbers also in a data frame.
            size: rows in a batch at most; fewer where their tensors would not fit.
            memory_mb: bound on raw rows, input tensors and output tensors together, in MB. A row
                that is larger alone is predicted alone.
            errors: "raise" ends the iteration with the error of the first row that has no
                prediction; "return" yields the error in the place of the row's prediction.

        Returns:
            an iterator of `PipelineOutput`.

        Raises:
            SettingError: an argument is out of range.
            DataError: `rows` is one row; or a row does not have the form of the training data, and
                the message counts rows from 1.
            UsageError: the pipeline is closed.

        Example:
            >>> with bmc.load("bmc-runs/tiny-movie-reviews-onnx") as classify:
            ...     for prediction in classify.batch(map(str.strip, open("texts.txt")), size=8):
            ...         print(prediction.label)
        """
        _check_errors(errors)
        if not memory_mb > 0:
            raise SettingError(f"memory_mb is {memory_mb!r}; it must be above 0")
        self._shared.current()  # raises where the pipeline is closed
        rows = raw_rows.without_frame(rows, self.kind)
        raw_rows.check_several(rows, self.kind)
        limit = 1e6 * memory_mb
        fitting = max(1.0, limit / batching.bytes_of_tensors(self.bundle))
        batch_size = int(min(model_outputs.batch_size_of(self.bundle, size), fitting))
        windows = batching.windows(rows, batching.cost_of(self.bundle), limit)
        return predicting.of_windows(self, windows, errors == "raise", batch_size)

    def outputs(
        self,
        rows: Many,
        batch_size: int = _BATCH_SIZE,
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Compute the model's first output for each row, in batches of rows of similar length.

        All rows are encoded at once: call the pipeline with an iterator for rows that do not fit in
        memory.

        Args:
            rows: raw rows.
            batch_size: rows in a batch; fewer where an engine was built for smaller batches.
            advance: called after each batch, with the number of its rows.

        Returns:
            float32 (rows, ...), in the order of the rows; where words have tags (words, tags), the
            words of all rows one after another.

        Raises:
            DataError: a row does not have the form of the training data.
            ArtifactError: the model's outputs do not have the shape in the manifest.
            UsageError: the pipeline is closed.
        """
        bundle = self.bundle
        rows = raw_rows.by_position(rows, self.kind)
        with self._shared.in_use() as session:
            encoded = bundle.encoder.encode(rows)
            return model_outputs.compute(bundle, session, encoded, batch_size, advance)

    def outputs_of(
        self,
        encoded: Many,
        batch_size: int = _BATCH_SIZE,
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Compute the model's first output for each encoded row; see `outputs`.

        Args:
            encoded: what the `encode` method of the bundle's encoder returned.
            batch_size: rows in a batch; fewer where an engine was built for smaller batches.
            advance: called after each batch, with the number of its rows.

        Raises:
            DataError: a file cannot be read, of rows that are files.
            ArtifactError: the model's outputs do not have the shape in the manifest.
            UsageError: the pipeline is closed.
        """
        bundle = self.bundle
        with self._shared.in_use() as session:
            return model_outputs.compute(bundle, session, encoded, batch_size, advance)

    def tensors(self, row: Any) -> dict[str, NDArray[Any]]:
        """Compute all outputs of one row, by name.

        Args:
            row: a raw row; see `__call__`.

        Raises:
            DataError: the row does not have the form that the model takes.
            UsageError: the pipeline is closed.
        """
        bundle = self.bundle
        with self._shared.in_use() as session:
            encoder = bundle.encoder
            return session.run(encoder.batch(encoder.encode([row]), [0]))

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run the model on input tensors, and return its output tensors, by name.

        Args:
            inputs: what the `batch` method of the bundle's encoder returned.

        Raises:
            ArtifactError: the model cannot compute these inputs.
            UsageError: the pipeline is closed.
        """
        with self._shared.in_use() as session:
            return session.run(inputs)

    @cached_property
    def ranges(self) -> NDArray[np.float32]:
        """The least and the largest value of each number of the vectors, float32 (2, width).

        They are those of validation and training texts, for `bmc.quantize_vectors`.

        Raises:
            UsageError: the bundle makes no vectors of texts.
            ArtifactError: the file with the ranges is damaged.
        """
        ranges = self.bundle.ranges()
        if ranges is None:
            raise UsageError(
                f"bundle {self.bundle.path} has no ranges: it makes no sentence embeddings "
                f"({self.bundle.manifest.task})"
            )
        return ranges

    def listen(self, hop: float = 0.1) -> ListeningSession:
        """Return a session that predicts on a stream of sound.

        Args:
            hop: seconds between two predictions.

        Raises:
            UsageError: the model does not take sound.
            SettingError: the hop is out of range.

        Example:
            >>> session = bmc.load("bmc-runs/ds-cnn-words-onnx").listen(hop=0.1)
            >>> for heard in session.stream(chunk):
            ...     print(heard.seconds, heard.prediction.label)
        """
        from bmc.inputs.audio import AudioEncoder  # noqa: PLC0415  for sound alone
        from bmc.listening import ListeningSession  # noqa: PLC0415

        encoder = self.bundle.encoder
        if not isinstance(encoder, AudioEncoder):
            raise UsageError(
                f"the model of {self.bundle.path} takes {self.kind}, and only a model for sound "
                "listens to a stream: call the pipeline with a row or an iterator of rows"
            )
        return ListeningSession(self, encoder.settings.samples, hop)

    def warm(self) -> None:
        """Predict the first golden row, so that the first call is as fast as later calls.

        Then compute all golden rows, and warn if their outputs differ from those at the export by
        more than the precision allows: an `OutputsWarning` names the bundle and the likely cause.
        An error is not raised: a call that has the same cause raises it, with its row.
        """
        with suppress(BmcError):
            golden = self.bundle.golden_rows()
            if golden is None:  # bundles of earlier versions have tensors alone
                self.run(self.bundle.golden()[0])
            else:
                self([golden.rows[0]], errors="return")
        if difference := self.difference():
            warnings.warn(difference, OutputsWarning, stacklevel=3)  # of the caller of `load`

    def difference(self) -> str:
        """Say how far the outputs of the golden rows differ from those at the export.

        Returns:
            one sentence, with the likely cause; "" if they differ by no more than the precision
            allows, or cannot be compared: `bmc check` says why.
        """
        try:
            return deviation.found(self.bundle, self.run)
        except BmcError:
            return ""

    def close(self) -> None:
        """Free the model once the running calls of other threads have ended.

        A second `close` does nothing; a later call of the pipeline raises a UsageError.
        """
        self._shared.close()
        self.bundle = replace(self.bundle)  # drops the cached encoder
        self._remove_files()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a pipeline cannot be pickled or copied; pass the folder on and load it there: "
            f"bmc.load({str(self._path)!r})"
        )

    def _stream(self, rows: Iterator[Any], strict: bool) -> Iterator[Any]:
        """Predict window by window: only the rows of one window are in memory."""
        windows = iter(lambda: list(islice(rows, batching.MAX_ROWS)), [])
        return predicting.of_windows(self, windows, strict, _BATCH_SIZE)

    def _matrix(self, vectors: list[Any]) -> NDArray[np.float32]:
        """Return the vectors of a list of rows as one array, float32 (rows, width)."""
        width = self.bundle.manifest.outputs[0].shape[1]
        return np.array(vectors, np.float32).reshape(len(vectors), int(width))

    def predictions(
        self, rows: Sequence[Any], outputs: NDArray[np.float32]
    ) -> list[PipelineOutput | None]:
        """Turn the model's outputs into predictions of rows; None where one is not finite.

        Args:
            rows: raw rows.
            outputs: their outputs; see `outputs`.
        """
        return predicting.of_outputs(self.bundle, rows, outputs)


def load(
    path: str | Path, target: str | None = None, threads: int | None = None, warm: bool = True
) -> Pipeline:
    """Load a bundle for inference.

    All files of the bundle are read now, and only a forked child reads them again. bmc reads
    nothing but the bundle and the installed packages, and writes no file, except for a packed
    bundle whose runtime needs files: it is unpacked into a temporary folder until the pipeline is
    closed.

    Args:
        path: the folder that `bmc export` wrote, or the .bmc file that `bmc pack` wrote.
        target: runtime of the model; the bundle's own when None. A bundle runs with its own
            runtime; of an engine that holds the ONNX file from which it was built, "onnx" and
            "openvino" run that file, on machines without its device.
        threads: number of CPU threads of the runtime; None or 0 leaves the choice to it. Texts of a
            list are tokenized by all cores, unless RAYON_NUM_THREADS says otherwise.
        warm: predict the rows that the bundle holds now, so that the first call is as fast as later
            calls, and warn (`OutputsWarning`) if their outputs differ from those at the export. A
            bundle that failed a check there is warned of in any case.

    Raises:
        UnknownError: there is no such folder, or no such target.
        ArtifactError: the bundle is damaged or too new.
        UsageError: the bundle is for another target.
        MissingError: the runtime of the bundle is not installed.

    Example:
        >>> with bmc.load("bmc-runs/tiny-movie-reviews-onnx") as classify:
        ...     classify("an hour of wit and charm")
    """
    folder = Path(path)
    try:
        exists = folder.exists()
    except ValueError:  # a NUL in the name
        exists = False
    if not exists:
        raise UnknownError(f"no bundle at {str(path)!r}{_working_folder_of(folder)}")
    bundle = for_target(bundles.read(folder.absolute()), target)
    if bundle.manifest.failure:
        warnings.warn(
            f"bundle {bundle.path} failed a check when it was exported "
            f"({bundle.manifest.failure}); do not deploy it",
            OutputsWarning,
            stacklevel=2,
        )
    pipeline = Pipeline(bundle, RuntimeOptions(threads=threads or 0))
    if warm:
        pipeline.warm()
    return pipeline


def _check_errors(errors: object) -> None:
    if errors not in ("raise", "return"):
        raise SettingError(f'errors is {errors!r}; "raise" and "return" are possible')


def _working_folder_of(folder: Path) -> str:
    """Return the working folder, in words, for a message about a relative path."""
    if folder.is_absolute():
        return ""
    try:
        return f" (the working folder is {Path.cwd()})"
    except FileNotFoundError:
        return " (the working folder was deleted; name the bundle's whole path)"
