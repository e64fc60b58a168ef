"""Predictions on a stream of sound: the last clip's length of samples is predicted every hop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError, SettingError
from bmc.inputs.audio import MAX_SECONDS, RATE, read_clip


@dataclass(frozen=True)
class Heard:
    """A prediction for one window of a stream.

    Args:
        seconds: time of the window's end, from the start of the stream.
        prediction: prediction of the pipeline for the window.
    """

    seconds: float
    prediction: Any


class ListeningSession:
    """Predicts on a stream of samples; `bmc.pipeline.Pipeline.listen` creates one.

    It keeps the samples of one window. A session belongs to one stream and one thread at a time;
    several sessions may share a pipeline.

    Args:
        predict: function from clips, each float32 (samples), to their predictions.
        window: samples of a window, which is the length of the model's clips.
        hop: seconds between two predictions, rounded to a whole sample.

    Raises:
        SettingError: the hop is out of range.
    """

    def __init__(
        self, predict: Callable[[list[NDArray[np.float32]]], list[Any]], window: int, hop: float
    ) -> None:
        if not 1 / RATE <= hop <= MAX_SECONDS:
            raise SettingError(f"hop is {hop} s; it must lie in 1/{RATE}..{MAX_SECONDS} s")
        self._predict, self._window, self._hop = predict, window, round(hop * RATE)
        self.reset()

    def reset(self) -> None:
        """Forget all samples, as at the start of a stream."""
        self._kept = np.zeros(0, np.float32)
        self._start = 0  # position in the stream of the first kept sample
        self._due = self._window  # position of the end of the next window

    def stream(self, chunk: Any) -> list[Heard]:
        """Take the next samples of the stream, and predict each window that they complete.

        The first window is complete when a clip's length was heard. A window's prediction is the
        pipeline's prediction for its samples as a clip.

        Args:
            chunk: mono samples at 16 kHz of any number, float in -1..1 or int16 (samples).

        Returns:
            the windows in order of time; none until the next hop.

        Raises:
            DataError: the chunk is not such an array; it is then not taken.
            UsageError: the pipeline is closed.
        """
        kept = np.concatenate([self._kept, _samples(chunk)])
        end = self._start + len(kept)
        ends = range(self._due, end + 1, self._hop)
        starts = [window_end - self._window - self._start for window_end in ends]
        clips = [kept[start : start + self._window] for start in starts]
        predictions = self._predict(clips) if clips else []
        self._due += self._hop * len(ends)
        unread = min(max(self._due - self._window - self._start, 0), len(kept))
        self._kept = kept[unread:].copy()
        self._start += unread
        return [
            Heard(window_end / RATE, prediction)
            for window_end, prediction in zip(ends, predictions, strict=True)
        ]


def _samples(chunk: Any) -> NDArray[np.float32]:
    if isinstance(chunk, bytes | bytearray | memoryview):
        raise DataError(
            "a chunk of a stream is an array of samples, not bytes: 16-bit samples of a microphone "
            "are numpy.frombuffer(chunk, numpy.int16)"
        )
    if isinstance(chunk, str | Path):
        raise DataError("a chunk of a stream is an array of samples, not a file: predict the file")
    if isinstance(chunk, np.ndarray | list) and not len(chunk):
        return np.zeros(0, np.float32)
    try:
        return read_clip(chunk)
    except DataError as error:
        raise DataError(f"this chunk of the stream: {error}") from error
