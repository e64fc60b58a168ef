"""Sounds that tests share: short tones and noise, a folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bmc.inputs.audio import RATE

WORDS = ("rise", "fall", "hiss")
"""Classes of clips: a tone that rises, a tone that falls, and noise."""


def tone(frequency: float, seconds: float = 0.5, rate: int = RATE) -> NDArray[np.float32]:
    """Return a tone that fades in and out, float32 (samples)."""
    samples = round(seconds * rate)
    waves = 0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)
    return (waves * np.hanning(samples)).astype(np.float32)


def clip(word: str, number: int) -> NDArray[np.float32]:
    """Return a clip of a class, 0.3 to 0.5 s; no two numbers have equal clips."""
    generator = np.random.default_rng([number, *word.encode()])
    samples = round(generator.uniform(0.3, 0.5) * RATE)
    noise = generator.normal(0, 1, samples)
    low, high = generator.uniform(300, 800), generator.uniform(1500, 3000)
    first, last = (high, low) if word == "fall" else (low, high)
    phases = 2 * np.pi * np.cumsum(np.linspace(first, last, samples)) / RATE
    content = 0.1 * noise if word == "hiss" else 0.5 * np.sin(phases) + 0.003 * noise
    return (content * np.hanning(samples)).astype(np.float32)


def write_folder(root: Path, clips_per_word: int) -> Path:
    """Write a folder of clips for each class, named 00.wav, 01.wav and so on."""
    for word in WORDS:
        (root / word).mkdir(parents=True)
        for number in range(clips_per_word):
            soundfile.write(root / word / f"{number:02}.wav", clip(word, number), RATE)
    return root
