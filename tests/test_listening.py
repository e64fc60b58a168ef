"""Streams of sound: a window's prediction is that of the same samples as a clip."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bmc.errors import DataError, SettingError
from bmc.inputs.audio import RATE
from bmc.listening import Heard, ListeningSession

WINDOW, HOP = 800, 160


def first_and_last(clips: list[NDArray[np.float32]]) -> list[Any]:
    """Return what identifies a window of a rising stream."""
    assert all(clip.shape == (WINDOW,) and clip.dtype == np.float32 for clip in clips)
    return [(float(clip[0]), float(clip[-1])) for clip in clips]


@pytest.fixture
def session() -> ListeningSession:
    return ListeningSession(first_and_last, WINDOW, HOP / RATE)


def heard_in(session: ListeningSession, stream: NDArray[Any], sizes: list[int]) -> list[Heard]:
    heard = []
    for chunk in np.split(stream, np.cumsum(sizes)):
        heard += session.stream(chunk)
    return heard


@pytest.mark.parametrize("sizes", [[], [1] * 50, [800], [799, 1, 160, 159], [1500, 0, 3]])
def test_the_windows_do_not_depend_on_the_chunks(
    session: ListeningSession, sizes: list[int]
) -> None:
    stream = np.arange(4000, dtype=np.float32) / 4096
    heard = heard_in(session, stream, sizes)
    ends = range(WINDOW, 4001, HOP)
    assert [entry.seconds for entry in heard] == [end / RATE for end in ends]
    expected = [((end - WINDOW) / 4096, (end - 1) / 4096) for end in ends]
    assert [entry.prediction for entry in heard] == expected


def test_a_hop_longer_than_the_window_skips_samples() -> None:
    session = ListeningSession(first_and_last, WINDOW, 1000 / RATE)
    heard = heard_in(session, np.arange(4000, dtype=np.float32) / 4096, [900, 50, 10])
    assert [round(entry.seconds * RATE) for entry in heard] == [800, 1800, 2800, 3800]


def test_memory_does_not_grow_with_the_stream(session: ListeningSession) -> None:
    chunk = np.zeros(500, np.float32)
    session.stream(chunk)
    tracemalloc.start()
    for _ in range(200):
        session.stream(chunk)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * chunk.itemsize * (WINDOW + len(chunk)), "100,000 samples were streamed"


def test_a_reset_starts_the_stream_anew(session: ListeningSession) -> None:
    session.stream(np.zeros(1000, np.int16))
    session.reset()
    assert session.stream(np.zeros(WINDOW - 1, np.int16)) == []
    assert [entry.seconds for entry in session.stream(np.zeros(1, np.int16))] == [WINDOW / RATE]


def test_a_refused_chunk_is_not_taken(session: ListeningSession) -> None:
    session.stream(np.zeros(WINDOW - 1, np.float32))
    with pytest.raises(DataError, match="this chunk of the stream: it holds samples that are NaN"):
        session.stream(np.full(10, np.nan, np.float32))
    with pytest.raises(DataError, match="not a file"):
        session.stream(Path("clip.wav"))
    with pytest.raises(DataError, match="frombuffer"):
        session.stream(bytes(320))
    assert session.stream([]) == []
    assert len(session.stream(np.zeros(1, np.float32))) == 1


def test_a_hop_out_of_range_is_refused() -> None:
    with pytest.raises(SettingError, match="hop is 0"):
        ListeningSession(first_and_last, WINDOW, 0)
