"""Log-mel energies in the graph: equal to a Fourier transform's, and to librosa's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bmc.data import Table, split
from bmc.inputs.audio import RATE, AudioEncoder, AudioSettings
from bmc.models.log_mel import FLOOR, HOP, WINDOW, LogMel, mel_filters, standardize
from tests._sounds import clip, tone

CLIPS: dict[str, NDArray[Any]] = {
    "speech": np.concatenate([clip(word, 0) for word in ("rise", "fall", "hiss")]),
    "noise": np.random.default_rng(0).normal(0, 0.1, RATE),
    "quiet": np.random.default_rng(0).normal(0, 1e-3, RATE),
    "silence": np.zeros(RATE),
}


def energies(samples: NDArray[Any], mels: int, max_frequency: float) -> NDArray[Any]:
    """Return the energies that the network computes, (frames, mels)."""
    log_mel = LogMel(mels, max_frequency)
    return log_mel.energies(torch.from_numpy(samples.astype(np.float32))[None])[0].numpy()


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize(("mels", "max_frequency"), [(40, 4000), (64, 8000), (16, 3300)])
def test_the_graph_computes_a_fourier_transform(name: str, mels: int, max_frequency: int) -> None:
    samples = CLIPS[name]
    starts = range(0, len(samples) - WINDOW + 1, HOP)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    frames = np.stack([samples[start : start + WINDOW] * window for start in starts])
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    expected = np.log(np.maximum(power @ mel_filters(mels, max_frequency), FLOOR))
    result = energies(samples, mels, max_frequency)
    assert result.shape == (len(samples) // HOP - 1, mels)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


def test_the_graph_computes_what_librosa_does() -> None:
    librosa = pytest.importorskip("librosa")
    samples = CLIPS["speech"]
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=WINDOW, hop_length=HOP, center=False, n_mels=40, fmin=20,
        fmax=4000, htk=True, norm=None,
    )  # fmt: skip
    expected = np.log(np.maximum(power, FLOOR)).T
    np.testing.assert_allclose(energies(samples, 40, 4000), expected, rtol=0, atol=1e-4)


def test_a_band_without_sound_in_training_is_not_magnified() -> None:
    tones = [tone(300 + 10 * number) for number in range(20)]
    data = split(Table(tones, ["low", "high"] * 10, kind="audio"), "tones")
    log_mel = LogMel(40, 8000)
    standardize(log_mel, data, AudioEncoder(AudioSettings(RATE // 2)))
    assert log_mel(torch.from_numpy(CLIPS["noise"].astype(np.float32))[None]).abs().max() < 50


def test_autocast_leaves_the_features_in_float32() -> None:
    log_mel, samples = LogMel(40, 4000), torch.from_numpy(tone(440, 1.0))[None]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_mel(samples), log_mel(samples.clone()))
        result = log_mel(samples)
    assert torch.equal(result, log_mel(samples))
