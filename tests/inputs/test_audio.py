"""Clips of sound: every depth, rate and number of channels, and what is refused by name."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bmc.errors import ArtifactError, DataError, MissingError, SettingError
from bmc.inputs.audio import RATE, AudioEncoder, AudioSettings, info_of, load, read_clip
from tests._sounds import tone

DEPTHS = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-23, "FLOAT": 1e-7}
"""Largest error of a sample, by the encoding of a .wav file."""


@pytest.fixture
def encoder() -> AudioEncoder:
    return AudioEncoder(AudioSettings(RATE // 2))


def saved(samples: Any, rate: int = RATE, **options: Any) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, **{"format": "WAV", **options})
    return content.getvalue()


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_is_read_alike(depth: str) -> None:
    clip = read_clip(saved(tone(440), subtype=depth))
    assert clip.dtype == np.float32
    np.testing.assert_allclose(clip, tone(440), rtol=0, atol=DEPTHS[depth])


@pytest.mark.parametrize("depth", [depth for depth in DEPTHS if depth != "FLOAT"])
def test_without_soundfile_wave_reads_the_same_samples(
    depth: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = saved(np.stack([tone(440), tone(700)], axis=1), subtype=depth)
    expected = read_clip(content)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    np.testing.assert_array_equal(read_clip(content), expected)


def test_without_soundfile_samples_wider_than_32_bits_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = bytearray(saved(tone(440), subtype="PCM_16"))
    content[34:36] = (64).to_bytes(2, "little")  # bits of a sample
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingError, match="soundfile"):
        read_clip(bytes(content))


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, fast = saved(tone(440), format="FLAC"), saved(tone(440, rate=8000), 8000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(MissingError, match=r"soundfile: pip install 'bmc-toolkit\[audio\]'"):
        read_clip(packed)
    with pytest.raises(MissingError, match=r"8000 samples a second .* soxr: pip install"):
        read_clip(fast)


def test_stereo_becomes_the_mean_of_its_channels() -> None:
    clip = read_clip(saved(np.stack([tone(440), 0 * tone(440)], axis=1)))
    np.testing.assert_allclose(clip, tone(440) / 2, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_are_resampled(rate: int) -> None:
    clip = read_clip(saved(tone(440, rate=rate), rate))
    assert len(clip) == RATE // 2
    np.testing.assert_allclose(clip, tone(440), atol=2e-3)


def test_an_mp3_named_wav_is_read_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(440, 1.0), RATE, format="MP3")
    assert info_of(path).container == "MP3"
    spectrum = np.abs(np.fft.rfft(read_clip(path)[:RATE]))
    assert abs(np.argmax(spectrum) * RATE / RATE - 440) <= 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"yes, no, up, down\n" * 100, "is not a sound file"),
        (saved(np.zeros(0, np.float32)), "holds no samples"),
        (saved(np.array([0, np.nan], np.float32), subtype="FLOAT"), "NaN or infinite"),
        (saved(tone(440), format="FLAC")[:30], "is not a sound file"),
        (saved(1e4 * tone(440), subtype="FLOAT"), "float samples up to .* by 32,768"),
    ],
    # A float file holds the time of its writing.
    ids=["empty", "text", "no samples", "NaN", "cut", "loud"],
)
def test_a_bad_file_is_refused_by_its_name(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.wav.*{reason}"):
        read_clip(path)
    with pytest.raises(DataError, match=r"bad\.wav"):
        AudioEncoder(AudioSettings(RATE)).batch([path], [0])
    with pytest.raises(DataError, match="is not a file"):
        read_clip(tmp_path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((2, 100), np.float32), "mean over the channels"),
        (np.zeros(100, np.int32), "holds int32"),
        (np.full(100, np.nan, np.float32), "NaN or infinite"),
        (1e4 * tone(440), "divide those of 16-bit sound by 32,768"),
        (["text"], "holds"),
    ],
)
def test_a_bad_array_is_refused_with_its_number(
    row: Any, reason: str, encoder: AudioEncoder
) -> None:
    with pytest.raises(DataError, match=rf"clip 2: .*{reason}"):
        encoder.encode([tone(440), row])


def test_a_short_clip_is_padded_and_a_long_one_cut(encoder: AudioEncoder, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(saved(tone(440, 2.0), subtype="FLOAT"))
    short, long, file = (
        encoder.batch(encoder.encode([row]), [0])["samples"][0]
        for row in (tone(440, 0.2), tone(440, 2.0), path)
    )
    np.testing.assert_array_equal(short[:3200], tone(440, 0.2))
    assert not short[3200:].any()
    np.testing.assert_array_equal(long, tone(440, 2.0)[: RATE // 2])
    np.testing.assert_array_equal(file, long)


def test_samples_of_16_bits_are_scaled(encoder: AudioEncoder) -> None:
    integers = np.array([np.round(32_767 * tone(440))], np.int16)
    batch = encoder.batch(encoder.encode(integers), [0])["samples"]
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch[0], tone(440), atol=1e-4)
    np.testing.assert_array_equal(
        encoder.batch(encoder.encode([integers[0]]), [0])["samples"], batch
    )


def test_settings_are_saved_and_checked(encoder: AudioEncoder, tmp_path: Path) -> None:
    assert load(encoder.to_json(), tmp_path).settings == encoder.settings
    with pytest.raises(ArtifactError, match="rate"):
        load({**encoder.to_json(), "rate": 8000}, tmp_path)
    with pytest.raises(ArtifactError, match="samples"):
        load({**encoder.to_json(), "samples": 0}, tmp_path)
    with pytest.raises(SettingError, match="960000"):
        AudioSettings(10**9)


def test_masked_samples_are_refused_in_every_type(encoder: AudioEncoder) -> None:
    clips = np.ma.array(np.ones((2, RATE // 2), np.int16), mask=False)
    clips[1, 5] = np.ma.masked
    for given in (clips, list(clips), list(clips.astype(np.float32))):
        with pytest.raises(DataError, match="clip 2: it has masked samples"):
            encoder.encode(given)
