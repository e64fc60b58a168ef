"""Spoken words: the same clips from the same recipe, and voices that no training clip has."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bmc.data import spoken_words
from bmc.errors import AssetError
from bmc.inputs.audio import RATE, read_clip


def test_the_recipe_makes_the_same_clips_again(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        try:
            spoken_words.make(folder, share=0.01)
        except AssetError as error:
            pytest.skip(str(error))
        clips = {part: np.load(folder / f"{part}.npy") for part in spoken_words.VOICES}
        assert {part: rows.shape for part, rows in clips.items()} == {
            "train": (70, RATE),
            "validation": (14, RATE),
            "test": (14, RATE),
        }
        contents.append(np.concatenate(list(clips.values())))
    np.testing.assert_array_equal(contents[0], contents[1])
    assert spoken_words.changed_parts(folder) == ["train", "validation", "test"], "a share of them"
    peaks = np.abs(contents[0].astype(np.int32)).max(axis=1)
    assert peaks.min() > 0.08 * 32_768
    assert peaks.max() < 0.95 * 32_768


def test_no_voice_is_in_two_parts() -> None:
    for first, second in combinations(spoken_words.VOICES.values(), 2):
        assert not set(first) & set(second)


def test_recorded_clips_are_the_words_and_the_phonetic_alphabet() -> None:
    try:
        files, labels = spoken_words.recorded()
    except AssetError as error:
        pytest.skip(str(error))
    assert sorted(set(labels)) == sorted((*spoken_words.WORDS, spoken_words.REST))
    assert labels.count(spoken_words.REST) == 26
    assert all(len(read_clip(file)) > 0.2 * RATE for file in files)
