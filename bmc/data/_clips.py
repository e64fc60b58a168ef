"""Clips of sound that a Python caller passed: arrays of samples, and a label for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.data._arrays import label_sets_of, labels_of
from bmc.data._dataset import Table
from bmc.data._values import Values
from bmc.errors import DataError, SettingError
from bmc.inputs import Many
from bmc.inputs.audio import RATE, read_clip, resampled

_MAX_RATE = 768_000
_MIN_SPEAKERS = 3  # one for each part
_FORMS = (
    "clips in memory are an array (clips, samples), or a list of arrays (samples) of any lengths"
)
_OTHERS = (
    "files of sounds are read from audiofolder:DIR, texts from a table (.csv), and images and "
    "series from an .npz file"
)
_SOURCE = "the clips"


def clips_in_memory(
    clips: Any,
    labels: Any,
    sampling_rate: int = RATE,
    several: bool = False,
    speakers: Any = None,
) -> Table:
    """Read clips and their labels.

    Args:
        clips: an array (clips, samples), or a sequence of arrays (samples) of any lengths: float in
            -1..1, or int16.
        labels: a label for each clip: a name or a number; of several labels a row, a list of names,
            or an array of 0 and 1 (clips, labels).
        sampling_rate: samples a second of each clip; clips of another rate than 16,000 are
            resampled.
        several: whether a row has several labels.
        speakers: name or number of each clip's speaker, all of whose clips are then in one part;
            None where clips are split one by one.

    Raises:
        DataError: the clips are of another form, a clip has no sample or samples that are not
            finite, there are more or fewer labels or speakers than clips, or fewer than three
            different speakers; the message counts clips from 1.
        SettingError: the sampling rate is not a whole number in its range.
        MissingError: soxr is not installed, which resamples.
    """

    rate = _rate(sampling_rate)
    if hasattr(clips, "iloc") and not hasattr(clips, "columns"):
        clips = clips.tolist()  # a pandas series, whose [0] is the row with the index 0
    _check_form(clips)
    rows: Many = clips.copy() if _are_whole(clips, rate) else list(_samples(clips, rate))
    values = Values(_SOURCE)
    names, classes = _labels(labels, values, several)
    if len(names) != len(rows):
        raise DataError(f"there are {len(rows)} clips and {len(names)} labels; each clip needs one")
    groups = _groups(speakers, len(rows))
    for note in _notes(rows, rate, groups):
        values.note(note)
    return Table(
        rows,
        names,
        kind="audio",
        numbers=values.numbers,
        notes=values.notes,
        classes=classes,
        several=several,
        groups=groups,
    )


def _rate(sampling_rate: Any) -> int:
    is_whole = isinstance(sampling_rate, Integral) and not isinstance(sampling_rate, bool)
    if not is_whole or not 1 <= sampling_rate <= _MAX_RATE:
        raise SettingError(
            f"sampling_rate is {sampling_rate!r:.40}; it is the number of samples a second, "
            f"1..{_MAX_RATE:,}"
        )
    return int(sampling_rate)


def _check_form(clips: Any) -> None:
    """Refuse what is not a collection of clips.

    Raises:
        DataError: it is a file, a table, one clip, or an array of another shape.
    """
    is_other = isinstance(clips, str | bytes | Path | Mapping) or hasattr(clips, "columns")
    if is_other or not hasattr(clips, "__len__") or not hasattr(clips, "__getitem__"):
        raise DataError(
            f"data is {type(clips).__name__}, and labels of its rows are given: {_FORMS}; {_OTHERS}"
        )
    if not len(clips):
        raise DataError("the data has no clips")
    shape = tuple(getattr(clips, "shape", (len(clips), 1)))
    if len(shape) == 1 and np.ndim(clips[0]) == 0:
        raise DataError(f"data has shape {shape}, which is one clip of samples; {_FORMS}")
    if len(shape) > 2:
        raise DataError(
            f"data has shape {shape}; {_FORMS}: take the mean over the channels of sound; {_OTHERS}"
        )


def _are_whole(clips: Any, rate: int) -> bool:
    """Tell whether clips are one array of 16 bits, which takes half of the memory of floats."""
    is_array = type(clips) is np.ndarray and clips.dtype == np.int16 and clips.ndim == 2
    return is_array and rate == RATE and clips.shape[1] > 0


def _samples(clips: Sequence[Any], rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield each clip as float32 (samples) at 16,000 samples a second."""
    for number in range(1, len(clips) + 1):
        clip = clips[number - 1]
        if isinstance(clip, str | bytes | Path):
            raise DataError(f"clip {number} is {type(clip).__name__}; {_FORMS}; {_OTHERS}")
        try:
            samples = read_clip(clip)
        except DataError as error:
            raise DataError(f"clip {number}: {error}") from error
        yield samples.copy() if rate == RATE else resampled(samples, rate)


def _labels(labels: Any, values: Values, several: bool) -> tuple[Sequence[str], tuple[str, ...]]:
    """Return the label of each clip as text, and the names of the classes where they are numbers.

    Raises:
        DataError: a label is missing, or is none.
    """
    if isinstance(labels, str | bytes | Mapping) or not hasattr(labels, "__len__"):
        raise DataError(
            f"labels is {type(labels).__name__}; give a list with a label for each clip"
        )
    plain = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if several:
        array = np.asarray(labels) if hasattr(labels, "shape") else None
        if array is not None and array.ndim == 2:
            return label_sets_of(array, "labels", values), tuple(map(str, range(array.shape[1])))
        return [
            values.label_set(value, "labels", number) for number, value in enumerate(plain, start=1)
        ], ()
    if hasattr(labels, "dtype") and np.asarray(labels).dtype.kind in "iufbUS":
        return labels_of(np.asarray(labels), "labels", values), ()
    plain = [value.item() if isinstance(value, np.generic) else value for value in plain]
    return [
        values.label(value, "labels", number) for number, value in enumerate(plain, start=1)
    ], ()


def _groups(speakers: Any, clips: int) -> tuple[str, ...]:
    """Return the name of each clip's speaker; () where clips are split one by one.

    Raises:
        DataError: there are more or fewer names than clips, or too few different ones.
    """
    if speakers is None:
        return ()
    if isinstance(speakers, str | bytes | Mapping) or not hasattr(speakers, "__len__"):
        raise DataError(
            f"speakers is {type(speakers).__name__}; give a list with the speaker of each clip"
        )
    if len(speakers) != clips:
        raise DataError(
            f"there are {clips} clips and {len(speakers)} speakers; each clip needs one"
        )
    names = tuple(str(speaker) for speaker in speakers)
    if len(set(names)) < _MIN_SPEAKERS:
        raise DataError(
            f"the clips have {len(set(names))} different speakers; {_MIN_SPEAKERS} are needed, one "
            "for each part: leave speakers out to split clips one by one"
        )
    return names


def _notes(rows: Many, rate: int, groups: Sequence[str]) -> Iterator[str]:
    """Yield sentences on the clips: their lengths, their rate, and how they are split."""
    seconds = np.array([len(row) for row in rows]) / RATE
    low, middle, high = np.quantile(seconds, (0, 0.5, 1))
    yield (
        f"clips last {low:.2f} to {high:.2f} s (median {middle:.2f}); a model pads shorter clips "
        "and reads the start of longer ones"
    )
    yield (
        f"clips are resampled from {rate} to {RATE} Hz"
        if rate != RATE
        else f"clips have {RATE} samples a second"
    )
    yield (
        f"clips are split by speaker: each of {len(set(groups))} is in one part"
        if groups
        else "clips are split one by one, so a voice may be in several parts and scores may be too "
        "high for new voices: speakers=, the speaker of each clip, splits them by speaker"
    )
