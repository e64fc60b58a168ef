"""Mutated sound files: each is read, or refused with a message; nothing else."""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import strategies as st

from bmc.inputs.audio import info_of, read_clip

soundfile.available_formats()  # a case imports nothing
read_clip(np.zeros(8, np.float32))

_FORMS = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "IMA_ADPCM"),
    "FLAC": ("PCM_16", "PCM_24"),
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
}
_NUMBERS = (0, 1, 2, 7, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@cache
def originals() -> tuple[bytes, ...]:
    """Return short sounds of every format, mono and stereo, at 16 kHz: none is resampled."""
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (1600, 2)).astype(np.float32)
    files = []
    for container, encodings in _FORMS.items():
        for encoding in encodings:
            for channels in (1, 2):
                content = io.BytesIO()
                soundfile.write(
                    content, sound[:, :channels], 16_000, format=container, subtype=encoding
                )
                files.append(content.getvalue())
    return tuple(files)


def cases() -> st.SearchStrategy[bytes]:
    """Return sounds with bytes changed, cut out, repeated, or ended early."""
    changes = st.lists(_change(), min_size=1, max_size=6)
    return st.builds(_changed, st.sampled_from(originals()), changes)


def _change() -> st.SearchStrategy[tuple[str, float, bytes]]:
    """Return what to do, where in the file (a share of it), and with which bytes."""
    numbers = st.builds(
        lambda number, form: struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)),
        st.sampled_from(_NUMBERS),
        st.sampled_from([">H", "<H", ">I", "<I"]),
    )
    content = st.one_of(st.binary(min_size=1, max_size=8), numbers)
    # Headers are in front: half of the changes go there.
    where = st.one_of(st.floats(0, 1), st.floats(0, 0.05))
    how = st.sampled_from(["overwrite", "overwrite", "flip", "insert", "cut", "end", "repeat"])
    return st.tuples(how, where, content)


def _changed(original: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    content = bytearray(original)
    for how, where, new in changes:
        index = int(where * max(len(content) - 1, 0))
        if how == "overwrite":
            content[index : index + len(new)] = new
        elif how == "flip" and content:
            content[index] ^= 1 << (new[0] % 8)
        elif how == "insert":
            content[index:index] = new
        elif how == "cut":
            del content[index : index + len(new)]
        elif how == "end":
            del content[index:]
        elif how == "repeat":
            content[index:index] = content[index : index + 64]
    return bytes(content)


def check(case: bytes, folder: Path) -> None:
    """Read a sound from a file.

    Raises:
        BmcError: it cannot be read.
        AssertionError: a sound that is read has no samples, or some that are not finite.
    """
    path = folder / "sound.wav"
    path.write_bytes(case)
    clip = read_clip(path, seconds=1.0)
    assert clip.dtype == np.float32
    assert len(clip)
    assert np.isfinite(clip).all()
    assert info_of(path).rate >= 1
