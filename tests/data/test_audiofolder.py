"""Folders of sounds: classes, the lists of Speech Commands, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from bmc import data as datasets
from bmc.errors import DataError, UnknownError
from bmc.inputs.audio import RATE
from tests._sounds import WORDS, clip, tone, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "words", 10)


def test_each_folder_is_a_class_and_its_parts_are_split(folder: Path) -> None:
    noise = folder / "_background_noise_"
    noise.mkdir()
    soundfile.write(noise / "hum.wav", tone(50, 2.0), RATE)
    data = datasets.load(f"audiofolder:{folder}")
    assert (data.kind, data.labels) == ("audio", ("fall", "hiss", "rise"))
    assert (len(data.train), len(data.validation), len(data.test)) == (21, 3, 6)
    assert any("clips last 0.3" in note for note in data.summary.notes)


def test_the_lists_decide_validation_and_test(folder: Path) -> None:
    (folder / "validation_list.txt").write_text("".join(f"{word}/00.wav\n" for word in WORDS))
    (folder / "testing_list.txt").write_text("rise/01.wav\nfall/01.wav\nhiss/01.wav\nrise/02.wav\n")
    soundfile.write(folder / "rise" / "copy.wav", clip("rise", 0), RATE)  # of a validation clip
    data = datasets.load(f"audiofolder:{folder}")
    assert {path.name for path in data.validation.rows} == {"00.wav"}
    assert sorted(path.name for path in data.test.rows) == ["01.wav"] * 3 + ["02.wav"]
    assert len(data.train) == 30 - 3 - 4
    assert "copy.wav" not in {path.name for path in data.train.rows}


def test_one_list_leaves_the_other_part_to_the_split(folder: Path) -> None:
    (folder / "validation_list.txt").write_text("".join(f"{word}/00.wav\n" for word in WORDS))
    data = datasets.load(f"audiofolder:{folder}")
    assert {path.name for path in data.validation.rows} == {"00.wav"}
    assert len(data.test) in (5, 6)


def test_a_speaker_is_in_one_part(folder: Path) -> None:
    assert any(
        "one by one" in note for note in datasets.load(f"audiofolder:{folder}").summary.notes
    )
    for word in WORDS:
        for path in sorted((folder / word).iterdir()):
            path.rename(path.with_name(f"voice{int(path.stem) % 5}_nohash_{path.stem}.wav"))
    for fold in (None, datasets.Fold(1, 2)):
        data = datasets.load(f"audiofolder:{folder}", fold=fold)
        speakers = [
            {path.name.partition("_nohash_")[0] for path in part.rows}
            for part in (data.train, data.validation, data.test)
        ]
        assert all(speakers)
        assert len(set().union(*speakers)) == sum(map(len, speakers)) == 5
        assert any("split by speaker" in note for note in data.summary.notes)


def test_other_lists_are_other_data(folder: Path) -> None:
    fingerprints = {datasets.load(f"audiofolder:{folder}").fingerprint}
    for name in ("00.wav", "01.wav"):
        (folder / "validation_list.txt").write_text(f"rise/{name}\nfall/{name}\nhiss/{name}\n")
        fingerprints.add(datasets.load(f"audiofolder:{folder}").fingerprint)
    assert len(fingerprints) == 3


def test_train_and_test_folders_are_the_official_parts(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 8)
    for word in WORDS:
        (tmp_path / "test" / word).mkdir(parents=True)
        soundfile.write(tmp_path / "test" / word / "new.wav", clip(word, 99), RATE)
    data = datasets.load(f"audiofolder:{tmp_path}")
    assert {path.name for path in data.test.rows} == {"new.wav"}
    assert len(data.train) + len(data.validation) == 24


def test_other_rates_and_formats_are_noted(folder: Path) -> None:
    soundfile.write(folder / "rise" / "song.wav", tone(300, 1.0), RATE, format="MP3")
    soundfile.write(folder / "rise" / "cd.flac", tone(310, 1.0, 44_100), 44_100)
    (folder / "rise" / "notes.txt").write_text("not a sound")
    notes = " ".join(datasets.load(f"audiofolder:{folder}").summary.notes)
    assert "song.wav holds MP3" in notes
    assert "1 of 44100 Hz" in notes
    assert "notes.txt" in notes


def test_bad_folders_are_refused_with_the_file(folder: Path) -> None:
    reference = f"audiofolder:{folder}"
    (folder / "testing_list.txt").write_text("rise/77.wav\n")
    with pytest.raises(DataError, match=r"testing_list.txt: line 1 names 'rise/77.wav'"):
        datasets.load(reference)
    (folder / "testing_list.txt").write_text("../words/rise/00.wav\n")
    with pytest.raises(DataError, match="which is not a clip WORD/NAME"):
        datasets.load(reference)
    (folder / "testing_list.txt").write_text("\n")
    with pytest.raises(DataError, match="names no clip"):
        datasets.load(reference)
    (folder / "testing_list.txt").unlink()
    (folder / "rise" / "text.wav").write_text("not a sound")
    with pytest.raises(DataError, match=r"rise/text.wav is not a sound file"):
        datasets.load(reference)
    (folder / "rise" / "text.wav").unlink()
    (folder / "silent").mkdir()
    with pytest.raises(DataError, match=r"class folder .*silent has no clip"):
        datasets.load(reference)


def test_a_folder_without_classes_says_where_clips_are_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"WORD/\*\.wav"):
        datasets.load(f"audiofolder:{tmp_path}")
    with pytest.raises(UnknownError, match="no folder"):
        datasets.load(f"audiofolder:{tmp_path / 'none'}")
    with pytest.raises(UnknownError, match=f"audiofolder:{tmp_path}"):
        datasets.load(str(tmp_path))
