"""The recipe of `spoken-words`: which voices say which words, how fast, how high, how loud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bmc.data._espeak import Speaker
from bmc.inputs.audio import RATE, resampled

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("star", "pound"),
)
REST = "other"
"""Class of all other words."""
_OTHER_WORDS = (
    *("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india"),
    *("juliet", "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo"),
    *("sierra", "tango", "uniform", "victor", "whiskey", "x-ray", "yankee", "zulu"),
    *("yes", "no", "stop", "go", "up", "down", "left", "right", "on", "off", "hello", "please"),
)
_ACCENTS = (
    *("en-us", "en", "en-gb-scotland", "en-gb-x-rp"),
    *("en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
)
VOICES = {
    "train": (
        *("Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Hugo", "Lee", "Mario"),
        *("Michael", "adam", "anika", "antonio", "aunty", "belinda", "boris", "caleb", "david"),
        *("ed", "f1", "f3", "f4", "grandma", "ian", "iven", "john", "klatt", "klatt4", "m1", "m2"),
        *("m3", "m5", "m6", "marcelo", "max", "miguel", "paul", "rob", "sandro", "travis"),
    ),
    "validation": ("Henrique", "benjamin", "f5", "m8", "quincy", "steph"),
    "test": (
        *("Alex", "f2", "grandpa", "klatt2", "linda", "m4", "m7"),
        *("norbert", "pablo", "robert", "shelby", "victor"),
    ),
}
"""Variants of espeak-ng's voices in each part: a voice of the test part is in no other part."""
_CLIPS_PER_WORD = {"train": 500, "validation": 72, "test": 144}
_REST_SHARE = 2  # the rest class has as many clips as this number of words
_SEED = 1
_SPEED, _PITCH, _RANGE = (120, 221), (20, 81), (20, 81)
_PEAK = (0.1, 0.9)
_NOISE = (1e-4, 1e-2)  # standard deviation of a microphone's noise


def parts() -> tuple[str, ...]:
    """Return the names of the parts."""
    return tuple(VOICES)


def labels_of(part: str, share: float = 1.0) -> list[str]:
    """Return the class of each clip of a part, in the order of the clips.

    Args:
        part: name of the part.
        share: share of the clips of each class, 0 to 1.
    """
    count = round(share * _CLIPS_PER_WORD[part])
    return [word for word in WORDS for _ in range(count)] + [REST] * (_REST_SHARE * count)


def write(library: Path, folder: Path, share: float = 1.0) -> None:
    """Write the clips of each part to FOLDER/PART.npy, int16 (rows, samples).

    Args:
        library: folder of espeak-ng's library and data.
        folder: folder to write to.
        share: share of the clips of each class, 0 to 1.

    Raises:
        AssetError: the library cannot be used here.
    """
    speaker = Speaker(library, _SEED)
    for number, part in enumerate(VOICES):
        generator = np.random.default_rng([_SEED, number])
        labels = labels_of(part, share)
        clips = np.lib.format.open_memmap(
            folder / f"{part}.npy", "w+", np.int16, (len(labels), RATE)
        )
        for index, clip in enumerate(_clips(speaker, part, labels, generator)):
            clips[index] = clip
        clips.flush()


def _clips(
    speaker: Speaker, part: str, labels: list[str], generator: np.random.Generator
) -> Iterator[NDArray[np.int16]]:
    """Yield a clip of one second for each label."""
    voices = VOICES[part]
    for index, label in enumerate(labels):
        word = str(generator.choice(_OTHER_WORDS)) if label == REST else label
        voice = f"{generator.choice(_ACCENTS)}+{voices[index % len(voices)]}"
        speed, pitch, pitch_range = (
            int(generator.integers(*limits)) for limits in (_SPEED, _PITCH, _RANGE)
        )
        spoken = speaker.say(word, voice, speed, pitch, pitch_range).astype(np.float32)
        yield _recorded(resampled(spoken, speaker.rate), generator)


def _recorded(spoken: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.int16]:
    """Return a word at a random loudness and place in a second of faint noise."""
    spoken = spoken[:RATE] * (generator.uniform(*_PEAK) / max(float(np.abs(spoken).max()), 1.0))
    start = int(generator.integers(0, RATE - len(spoken) + 1))
    noise = float(np.exp(generator.uniform(*np.log(_NOISE))))
    clip = generator.normal(0, noise, RATE)
    clip[start : start + len(spoken)] += spoken
    return np.round(np.clip(clip, -1, 1) * 32_767).astype(np.int16)
