"""A user's own sounds: a folder for each class, DIR/WORD/*.wav, as Speech Commands has them.

The lists `validation_list.txt` and `testing_list.txt` name the clips of these parts, one path a
line, relative to DIR. What they leave open is split by speaker where names are
SPEAKER_nohash_NUMBER, as in Speech Commands, and else clip by clip, as images are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bmc.data._dataset import Table
from bmc.data._folders import first_of, folders_in, visible
from bmc.data._values import characters
from bmc.data_files import check_file, opened
from bmc.errors import DataError, UnknownError
from bmc.inputs.audio import SoundInfo, info_of, read_clip

_ENDINGS = {".wav": ("WAV", "WAVEX", "RF64"), ".flac": ("FLAC",), ".ogg": ("OGG",)}
"""Formats that files of each ending hold; another format is read, and reported in a note."""
_VALIDATION, _TEST = "validation_list.txt", "testing_list.txt"
_BACKGROUND = "_background_noise_"
_PARTS = {"train", "test"}
_SPEAKER_ENDS = "_nohash_"
_FEWEST_SPEAKERS = 3  # one for each part


def read(folder: str, columns: Sequence[str], label_column: str) -> Table:
    """List the clips and classes of a folder, and decode each clip once to find broken files.

    The rows are paths; clips are read again when a batch is collated. Hidden files and the folder
    `_background_noise_` of Speech Commands are skipped.

    Args:
        folder: DIR; a class is named like its folder.
        columns: not used.
        label_column: not used.

    Raises:
        UnknownError: there is no such folder.
        DataError: a class has no clip, a clip cannot be read, a list names a clip that does not
            exist, or there are no classes.
        MissingError: a package is missing that reads a file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UnknownError(f"no folder {folder!r} with sounds")
    names = {path.name for path in folders_in(root)}
    if names >= _PARTS:
        if extra := sorted(names - _PARTS - {_BACKGROUND}):
            raise DataError(
                f"{folder} holds {extra[0]!r} besides train and test, which bmc would not read; "
                "move its classes into one of them"
            )
        return _table(_clips_of(root / "train"), _test_table(_clips_of(root / "test")))
    clips = _clips_of(root)
    validation, test = (_listed(root, name) for name in (_VALIDATION, _TEST))
    if validation is None and test is None:
        return _table(clips)
    official = clips.only(test) if test else None
    rest = clips.only({path for path in clips.labels if path not in (test or ())})
    return _table(rest, _test_table(official) if official else None, validation)


def clips_below(folder: str) -> list[Path]:
    """Find the clips in a folder and its folders; each is decoded once, as `read` does.

    Args:
        folder: DIR; the names of its folders mean nothing.

    Raises:
        UnknownError: there is no such folder.
        DataError: a clip cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UnknownError(f"no folder {folder!r} with sounds")
    clips: list[Path] = []
    pending = [root]
    while pending:
        for path in visible(pending.pop()):
            if path.is_dir() and not path.is_symlink():  # a link may lead back to its own folder
                pending.append(path)
            elif _is_clip(path):
                _info(path)
                clips.append(path)
    return clips


class _Clips:
    """The clips of a folder, and what was noted about them.

    Args:
        labels: class of each clip, by the clip's path.
        infos: header of each clip, by the clip's path.
        notes: sentences on files that are not read.
    """

    def __init__(
        self, labels: dict[Path, str], infos: dict[Path, SoundInfo], notes: list[str]
    ) -> None:
        self.labels, self.infos, self.notes = labels, infos, notes

    def only(self, paths: set[Path]) -> _Clips:
        """Return those of the clips whose paths are in a set."""
        labels = {path: label for path, label in self.labels.items() if path in paths}
        return _Clips(labels, self.infos, self.notes)

    def described(self) -> Iterator[str]:
        """Yield sentences on the clips: their lengths, rates, and formats."""
        infos = {path: self.infos[path] for path in self.labels}
        seconds = np.array([info.seconds for info in infos.values()])
        low, middle, high = np.quantile(seconds, (0, 0.5, 1))
        yield (
            f"clips last {low:.2f} to {high:.2f} s (median {middle:.2f}); a model pads shorter "
            "clips and reads the start of longer ones"
        )
        if other := Counter(info.rate for info in infos.values() if info.rate != 16_000):
            rates = ", ".join(f"{count} of {rate} Hz" for rate, count in other.most_common(3))
            yield f"clips are resampled to 16000 Hz: {rates}"
        for path, info in infos.items():
            if info.container not in _ENDINGS[path.suffix.lower()]:
                yield f"{path} holds {info.container}, and is read as such"


def _clips_of(folder: Path) -> _Clips:
    labels: dict[Path, str] = {}
    infos: dict[Path, SoundInfo] = {}
    notes: list[str] = []
    for path in folders_in(folder):
        if path.name == _BACKGROUND:
            notes.append(
                f"{_BACKGROUND} is not read: for a model of streams, cut it into clips of a class, "
                "such as silence"
            )
            continue
        label = characters(path.name, f"the class folder {str(path)!r}")
        inside = visible(path)
        clips = [clip for clip in inside if _is_clip(clip)]
        if not clips:
            raise DataError(
                f"the class folder {path} has no clip ({', '.join(_ENDINGS)}); add some or remove "
                "the folder"
            )
        for clip in clips:
            infos[clip] = _info(clip)
            labels[clip] = label
        if others := [other for other in inside if other not in infos]:
            notes.append(f"not read: {first_of(others)}")
    if not labels:
        raise DataError(f"{folder} has no class folders; clips are read from {folder}/WORD/*.wav")
    if loose := [path for path in visible(folder) if _is_clip(path)]:
        notes.append(f"not read, since they lie in no class folder: {first_of(loose)}")
    return _Clips(labels, infos, notes)


def _table(clips: _Clips, test: Table | None = None, validation: set[Path] | None = None) -> Table:

    if not clips.labels:
        raise DataError("the lists of clips leave no clip to train on; shorten them")
    rows = list(clips.labels)
    groups = _speakers(rows)
    notes = [*clips.notes, *clips.described()]
    if test is None or (groups and validation is None):
        notes.append(_on_voices(groups))
    return Table(
        rows,
        list(clips.labels.values()),
        test,
        kind="audio",
        notes=tuple(notes),
        groups=groups,
        validation=np.array([row in validation for row in rows]) if validation else None,
    )


def _test_table(clips: _Clips) -> Table:

    notes = (*clips.notes, *clips.described())
    return Table(list(clips.labels), list(clips.labels.values()), kind="audio", notes=notes)


def _speakers(rows: Sequence[Path]) -> tuple[str, ...]:
    """Return the speaker of each clip; () where the names of the files do not say it.

    A clip without a speaker in its name is a group of its own.

    Source: Warden 2018, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition".
    """
    speakers = {row.name.partition(_SPEAKER_ENDS)[0] for row in rows if _SPEAKER_ENDS in row.name}
    if len(speakers) < _FEWEST_SPEAKERS:
        return ()
    return tuple(
        row.name.partition(_SPEAKER_ENDS)[0]
        if _SPEAKER_ENDS in row.name
        else f"{row.parent.name}/{row.name}"
        for row in rows
    )


def _on_voices(groups: Sequence[str]) -> str:
    if groups:
        return (
            f"clips are split by speaker, the name before {_SPEAKER_ENDS}: each of "
            f"{len(set(groups))} is in one part"
        )
    return (
        "clips are split one by one, so a voice may be in several parts and scores may be too "
        f"high for new voices: name clips SPEAKER{_SPEAKER_ENDS}0.wav, or write "
        f"{_VALIDATION} and {_TEST}"
    )


def _listed(root: Path, name: str) -> set[Path] | None:
    """Return the clips that a list names; None where there is no such list.

    Raises:
        DataError: the list is empty, or names a clip that does not exist.
    """
    path = root / name
    if not path.exists():
        return None
    with opened(path) as file:
        lines = [line.strip() for line in file]
    clips: set[Path] = set()
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        clip = root / line
        if clip.parent.parent != root or not clip.is_file():
            raise DataError(
                f"{path}: line {number} names {line!r:.80}, which is not a clip WORD/NAME.wav of "
                f"{root}; remove the line, or add the file"
            )
        clips.add(clip)
    if not clips:
        raise DataError(f"{path} names no clip; remove it, or fill it")
    return clips


def _info(path: Path) -> SoundInfo:
    """Return the header of a clip after decoding the clip."""
    check_file(path, "sound file")
    read_clip(path)
    return info_of(path)


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and not path.is_dir()
