"""Clips of sound in memory: what is read of them, and what is refused by clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bmc import data as datasets
from bmc.data import Table, clips_in_memory
from bmc.errors import DataError, SettingError, UnknownError
from bmc.inputs.audio import RATE
from tests._sounds import WORDS, clip, tone

RAGGED = [clip(word, number) for word in WORDS for number in range(6)]
LABELS = [word for word in WORDS for _ in range(6)]


def test_ragged_clips_keep_their_lengths_and_are_copied() -> None:
    clips = [each.copy() for each in RAGGED]
    table = clips_in_memory(clips, LABELS)
    clips[0][:] = 0
    assert (table.kind, list(table.labels)) == ("audio", LABELS)
    for row, expected in zip(table.rows, RAGGED, strict=True):
        np.testing.assert_array_equal(row, expected)
    assert any("clips last 0.3" in note for note in table.notes)
    assert any("16000 samples a second" in note for note in table.notes)


def test_one_array_of_16_bits_stays_as_it_is() -> None:
    clips = np.stack([np.round(32_767 * tone(300 + number)) for number in range(6)])
    table = clips_in_memory(clips.astype(np.int16), np.arange(6) % 2)
    assert table.rows.dtype == np.int16  # type: ignore[union-attr]
    assert table.labels == ["0", "1"] * 3
    floats = clips_in_memory((clips / 32_768).astype(np.float64), np.arange(6) % 2)
    np.testing.assert_allclose(floats.rows[1], clips[1] / 32_768, atol=1e-6)


def test_a_series_of_clips_is_read_in_its_order_whatever_its_index() -> None:
    pandas = pytest.importorskip("pandas")
    shuffled = pandas.DataFrame({"clip": RAGGED, "word": LABELS}).iloc[::-1]
    table = clips_in_memory(shuffled["clip"], shuffled["word"])
    assert list(table.labels) == LABELS[::-1]
    np.testing.assert_array_equal(table.rows[0], RAGGED[-1])
    assert len(clips_in_memory(shuffled["clip"][:3], LABELS[:3]).rows) == 3


def test_clips_of_another_rate_are_resampled() -> None:
    table = clips_in_memory([tone(440, 0.5, 8_000)], ["a"], sampling_rate=8_000)
    assert len(table.rows[0]) == RATE // 2
    np.testing.assert_allclose(table.rows[0][2000:6000], tone(440)[2000:6000], atol=1e-2)
    assert "clips are resampled from 8000 to 16000 Hz" in table.notes


def test_clips_may_have_several_labels() -> None:
    names = [["loud", "low"], ["low"], []]
    table = clips_in_memory(RAGGED[:3], names, several=True)
    assert (table.several, len(table.labels)) == (True, 3)
    flags = clips_in_memory(RAGGED[:3], np.array([[1, 0], [0, 1], [1, 1]]), several=True)
    assert flags.classes == ("0", "1")


@pytest.mark.parametrize(
    ("clips", "labels", "message"),
    [
        (tone(440), LABELS, r"data has shape \(8000,\), which is one clip"),
        (np.zeros((3, 2, 100)), "abc", r"shape \(3, 2, 100\); .* mean over the channels"),
        (np.zeros((3, 100), np.uint8), [1, 2, 3], "clip 1: it holds uint8"),
        (["a.wav"], ["a"], "clip 1 is str; .* audiofolder:DIR"),
        ("a.wav", ["a"], "data is str"),
        ({"samples": [1]}, ["a"], "data is dict"),
        (None, ["a"], "data is NoneType"),
        ([], [], "the data has no clips"),
        ([tone(440), np.zeros(0, np.float32)], [1, 2], "clip 2: it has no samples"),
        ([tone(440), np.full(10, np.nan)], [1, 2], "clip 2: it holds samples that are NaN"),
        ([tone(440), np.full(10, 3e4)], [1, 2], "clip 2: its samples reach"),
        (RAGGED, LABELS[1:], "there are 18 clips and 17 labels"),
        (RAGGED[:2], ["a", None], "row 2, column 'labels', has no label"),
        (RAGGED[:2], "ab", "labels is str; give a list"),
        (RAGGED[:2], np.array([[0, 1], [1, 0]]), "labels is int64 of shape .* labels.argmax"),
    ],
)
def test_other_forms_are_refused(clips: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        clips_in_memory(clips, labels)


@pytest.mark.parametrize("rate", [0, -1, 16_000.5, True, "16k", 10**9])
def test_a_rate_outside_of_its_range_is_refused(rate: Any) -> None:
    with pytest.raises(SettingError, match="sampling_rate is"):
        clips_in_memory(RAGGED, LABELS, rate)


def test_clips_of_another_process_are_to_be_saved_as_files() -> None:
    with pytest.raises(UnknownError, match=r"save these clips as files.* audiofolder:DIR"):
        datasets.load("memory:clips-0123456789ab")


def test_clips_of_a_speaker_are_in_one_part() -> None:
    speakers = np.arange(len(RAGGED)) % 5
    table = clips_in_memory(RAGGED, LABELS, speakers=speakers)
    data = datasets.split(table, "clips")
    speaker_of = {row.tobytes(): name for row, name in zip(RAGGED, speakers, strict=True)}
    parts = [
        {speaker_of[row.tobytes()] for row in part.rows}
        for part in (data.train, data.validation, data.test)
    ]
    assert sum(map(len, parts)) == len(set(speakers))
    assert "clips are split by speaker: each of 5 is in one part" in table.notes


@pytest.mark.parametrize(
    ("speakers", "message"),
    [
        (["a"] * 17, "there are 18 clips and 17 speakers"),
        (["a", "b"] * 9, "the clips have 2 different speakers; 3 are needed"),
        ("ab", "speakers is str; give a list"),
    ],
)
def test_speakers_that_cannot_split_clips_are_refused(speakers: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        clips_in_memory(RAGGED, LABELS, speakers=speakers)


def test_a_table_of_clips_is_split_like_every_other() -> None:
    table: Table = clips_in_memory(RAGGED, LABELS)
    data = datasets.split(table, "clips")
    assert (data.labels, len(data.train) + len(data.validation) + len(data.test)) == (
        ("fall", "hiss", "rise"),
        18,
    )
