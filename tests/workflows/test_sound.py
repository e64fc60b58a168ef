"""Sound through every verb: trained, taught, compressed, exported, predicted, listened to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import bmc as package
from bmc import bundle as bundles
from bmc import cli
from bmc import data as datasets
from bmc.errors import BmcError, DataError, UsageError
from bmc.golden import portable
from bmc.inputs.audio import RATE
from bmc.report.read import Evaluated
from bmc.workflows.floor import floor_of
from tests._sounds import WORDS, clip, tone

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--device", "cpu", "--quiet", "--batch-size", "8")
NEW = ("--output", "none")
SHIFTED = ("--augment", "shift")
SHORT = ("--set", "seconds=0.5", "--set", "max_frequency=4000")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, clips_folder: Path) -> Path:
    """Return a workspace: small networks for clips, compressed in each way, and their bundles."""
    folder = tmp_path_factory.mktemp("sound")
    data = ("--data", f"audiofolder:{clips_folder}")
    small = ("--set", "width=16", "--set", "blocks=2")
    student = ("--student", "ds-cnn", "--set", "width=8", "--set", "blocks=1", *SHORT)
    every = ("--target", "onnx,openvino,tensorrt", "--quiet", "--allow-slower")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder / "runs"))
        for command in (
            ["train", "ds-cnn", *data, *QUICK, *small, *SHORT, "--epochs", "10", *SHIFTED],
            ["train", "gru", *data, *QUICK, "--epochs", "1", "--set", "hidden=8", *SHORT],
            [
                *("distill", "--teacher", "ds-cnn-tones", *student, *data, *QUICK),
                *("--epochs", "2", "-o", f"{folder}/runs/taught", *SHIFTED),
            ],
            ["prune", "ds-cnn-tones", "--ratio", "0.5", "--epochs", "1", "--quiet"],
            ["quantize", "ds-cnn-tones", "--quiet"],
            ["export", "ds-cnn-tones", "--target", "onnx", "--quiet"],
            ["export", "ds-cnn-tones-static", *every],
            ["export", "gru-tones", "--target", "onnx", "--quiet"],
        ):
            assert cli.run(command) == 0, command
    return folder


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use that workspace."""
    monkeypatch.setenv("BMC_HOME", str(made / "runs"))
    return made


def test_every_bundle_answers_as_its_model_does(made: Path) -> None:
    bundles = [path.parent for path in (made / "runs").glob("*/manifest.json")]
    assert len(bundles) == 5
    for bundle in bundles:
        manifest = json.loads((bundle / "manifest.json").read_text())
        assert manifest["failure"] is None
        assert "fixed_batch" not in manifest["build"], "a batch of clips is answered at once"
        if "ds-cnn" in bundle.name:
            scores = manifest["scores"] or manifest["stand_in"]["scores"]
            assert scores["accuracy"]["value"] > 0.8


def test_a_bundle_stores_no_more_of_a_clip_than_it_reads() -> None:
    assert len(portable(np.zeros(3 * RATE, np.int16), "audio", RATE // 2)) == RATE // 2


def test_the_features_stay_in_float_when_a_network_is_quantized(made: Path) -> None:
    record = json.loads((made / "runs" / "ds-cnn-tones-static" / "bmc.json").read_text())
    layers = record["steps"][-1]["record"]
    assert layers
    assert not [path for path in layers if "log_mel" in path]


def test_a_bundle_takes_files_their_content_and_samples(made: Path, tmp_path: Path) -> None:
    path, samples = tmp_path / "rise.wav", clip("rise", 500)
    soundfile.write(path, samples, RATE)
    with package.load(made / "runs" / "ds-cnn-tones-onnx") as predict:
        prediction = predict(str(path))
        assert prediction.label == "rise"
        assert predict(path) == predict(path.read_bytes()) == prediction
        assert predict(samples).score == pytest.approx(prediction.score, abs=1e-3)
        assert predict(np.round(32_767 * samples).astype(np.int16)).label == "rise"
        answers = predict([clip(word, 500) for word in WORDS])
        assert [answer.label for answer in answers] == list(WORDS)
        errors = predict([samples, tmp_path / "none.wav"], errors="return")
        assert isinstance(errors[1], DataError)
        with pytest.raises(DataError, match="clip 2: "):
            predict([samples, np.zeros((2, 100), np.float32)])


def test_a_stream_is_predicted_as_its_windows_are(made: Path) -> None:
    stream = np.concatenate([clip(word, 600) for word in WORDS] + [tone(440, 0.7)])
    with package.load(made / "runs" / "ds-cnn-tones-static-openvino") as predict:
        session = predict.listen(hop=0.05)
        heard = [entry for part in np.array_split(stream, 17) for entry in session.stream(part)]
        assert len(heard) == 1 + (len(stream) - RATE // 2) // 800
        for entry in heard:
            end = round(entry.seconds * RATE)
            expected = predict(stream[end - RATE // 2 : end])
            assert entry.prediction.label == expected.label
            assert entry.prediction.score == pytest.approx(expected.score, abs=1e-5)


def test_a_device_listens_without_torch_and_without_soundfile(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "rise.wav"
    soundfile.write(path, clip("rise", 500), RATE)
    code = (
        "import sys\n"
        "sys.modules['soundfile'] = sys.modules['soxr'] = None\n"
        "import numpy, bmc\n"
        f"predict = bmc.load({str(made / 'runs' / 'ds-cnn-tones-onnx')!r})\n"
        "heard = predict.listen().stream(numpy.zeros(16000, numpy.float32))\n"
        f"print(predict({str(path)!r}).label, len(heard), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "rise 6 False\n"


def test_files_are_predicted_and_checked_on_the_command_line(
    bmc: Run, place: Path, clips_folder: Path
) -> None:
    good, folder = clips_folder / "rise" / "00.wav", clips_folder / "rise"
    code, out, err = bmc("predict", "ds-cnn-tones-onnx", str(good), str(folder))
    assert code != 0
    assert out.startswith("rise")
    assert "name its sounds" in err
    assert bmc("check", "ds-cnn-tones-static-onnx")[0] == 0
    code, _, err = bmc("predict", "ds-cnn-tones-onnx", str(clips_folder / "none.wav"))
    assert code != 0
    assert "no sound file" in err


def test_the_floor_is_a_linear_model_of_the_energies(place: Path) -> None:
    bundle = bundles.read(place / "runs" / "ds-cnn-tones-onnx")
    floor = floor_of([Evaluated(bundle, None, None)])
    ((folder, about),) = floor.folders.items()
    assert folder.name == "floor-linear-tones-onnx"
    assert about.startswith("one linear layer on the mean log-mel energies, trained in")


def test_a_page_shows_what_speaks_for_a_prediction(bmc: Run, place: Path) -> None:
    page = place / "page.html"
    code, _, err = bmc("inspect", "ds-cnn-tones", "--output", page)
    assert code == 0, err
    assert "gradient x input, by 20 ms" in page.read_text()


def test_clips_in_memory_are_trained_on_taught_compressed_and_exported(tmp_path: Path) -> None:
    labels = [word for word in WORDS for _ in range(10)]
    clips = [clip(word, number) for word in WORDS for number in range(10)]
    small: dict[str, Any] = {"blocks": 1, "seconds": 0.5, "max_frequency": 4000}
    quick: dict[str, Any] = {"epochs": 1, "batch_size": 8, "device": "cpu"}
    model = package.train(
        "ds-cnn", clips, labels, width=8, output=tmp_path / "model", **small, **quick
    )
    assert model.labels == ("fall", "hiss", "rise")
    assert model.data["reference"].startswith("memory:clips-")
    int8 = package.quantize(model, output=tmp_path / "int8")
    student = package.distill(
        *(model, "ds-cnn"),
        student_settings={"width": 4, **small},
        transfer=[clip("rise", 100), clip("hiss", 100)],
        output=tmp_path / "student",
        **quick,
    )
    assert student.data["fingerprint"] == model.data["fingerprint"]
    bundle = int8.to("onnx", output=tmp_path / "bundle", allow_slower=True)
    assert bundle.predict(clips[0]).label in WORDS
    assert bundle.scores["accuracy"]


def test_clips_in_memory_that_cannot_be_data_are_refused() -> None:
    clips = [clip(word, number) for word in WORDS for number in range(10)]
    labels = [word for word in WORDS for _ in range(10)]
    cases: list[tuple[type[BmcError], str, Callable[[], object]]] = [
        (DataError, "or clips of sound, with labels", lambda: package.train("ds-cnn", clips)),
        (
            UsageError,
            "is clips of sound",
            lambda: package.train("mlp", clips, labels, features="a"),
        ),
        (UsageError, "sampling_rate is for", lambda: package.train("mlp", sampling_rate=8000)),
        (UsageError, "speakers is for", lambda: package.train("mlp", "digits", speakers=["a"])),
        (DataError, "cnn takes image", lambda: package.train("cnn", clips, labels)),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


def test_a_folder_of_sounds_is_found_from_another_folder(
    clips_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clips_folder.parent)
    data = datasets.load(f"audiofolder:{clips_folder.name}")
    monkeypatch.chdir(tmp_path)
    assert data.location == f"audiofolder:{clips_folder}"
    found = datasets.locate(f"audiofolder:{clips_folder.name}", data.location, "model")
    assert found == data.location


def test_networks_and_augmentations_of_other_data_are_refused(
    bmc: Run, place: Path, clips_folder: Path
) -> None:
    reference = f"audiofolder:{clips_folder}"
    for command, reason in (
        (("train", "ds-cnn", "--data", "digits"), "ds-cnn takes audio"),
        (("train", "cnn", "--data", reference), "cnn takes image"),
        (("train", "mlp", "--data", reference, "--set", "image_size=8"), "holds sound"),
        (("train", "rnn", "--data", reference, "--set", "vectors=glove-50"), "has no words"),
        (("train", "ds-cnn", "--data", reference, "--augment", "flip", *NEW), "is for images"),
        (("train", "mlp", "--data", "digits", "--augment", "noise", *NEW), "is for sound"),
        (("train", "ds-cnn", "--data", reference, "--set", "seconds=0"), "seconds is 0"),
        (("train", "ds-cnn", "--data", reference, "--set", "mels=4"), "mels is 4"),
    ):
        code, _, err = bmc(*command)
        assert code != 0, command
        assert reason in err, err
