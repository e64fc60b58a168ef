"""The folder of a sentence encoder as a model: every verb reads it once, with texts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bmc as package
from bmc import artifact, cli, console
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.workflows import encoder_folders, teachers
from tests._sentences import sentences, teacher_folder
from tests.faults import _folders

Run = Callable[..., tuple[int, str, str]]
TARGETS = ("onnx", "openvino")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace: what each verb makes of one folder, and the report's floor."""
    folder = tmp_path_factory.mktemp("encoder")
    source, texts = str(teacher_folder(folder / "teacher")), str(sentences(folder))
    data = ("--data", texts, "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder / "runs"))
        for command in (
            ["quantize", source, "--transfer", texts, "--quiet"],
            ["prune", source, *data, "--ratio", "0.3", "--epochs", "1"],
            ["share", source, *data, "--method", "cluster", "--epochs", "0"],
            ["export", source, *data, "--target", ",".join(TARGETS)],
            ["export", "teacher-texts-static", "--target=onnx", "--allow-slower", "--quiet"],
            ["inspect", source, *data, "--output", f"{folder}/page.html"],
        ):
            assert cli.run(command) == 0, command
    return folder


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use that workspace, which the tests only read."""
    monkeypatch.setenv("BMC_HOME", str(made / "runs"))
    return made


def test_every_verb_uses_the_directory_that_the_first_one_read(made: Path) -> None:
    directories = {path.parent.name for path in (made / "runs").glob("*/bmc.json")}
    methods = {"static", "structured", "cluster"}
    assert directories == {"teacher-texts", *(f"teacher-texts-{name}" for name in methods)}
    assert (made / "page.html").read_text()
    origin = artifact.describe(made / "runs" / "teacher-texts")["origin"]
    assert (origin["command"], origin["baseline"]) == ("train", str(made / "teacher"))


@pytest.mark.parametrize("name", [*TARGETS, "static-onnx"])
def test_a_bundle_is_compared_with_the_folders_vectors(name: str, made: Path) -> None:
    bundle = bundles.read(made / "runs" / f"teacher-texts-{name}")
    assert bundle.manifest.failure is None
    assert bundle.golden()[0]
    scores = bundle.manifest.stand_in or bundle.manifest
    assert scores.scores["spearman"]["value"] > 0.95
    if name in TARGETS:
        assert scores.scores["recall_at_10"]["value"] == 1


def test_a_folder_is_read_again_where_its_files_or_the_texts_have_changed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bmc: Run
) -> None:
    texts = place / "texts.txt"
    code, _, said = bmc("inspect", place / "teacher", "--data", texts, "--output", tmp_path / "1")
    assert code == 0, said
    assert "teacher-texts, which was read from it with these texts" in said
    monkeypatch.setenv("BMC_HOME", str(shutil.copytree(place / "runs", tmp_path / "runs")))
    copy = shutil.copytree(place / "teacher", tmp_path / "teacher")
    _folders.changed(copy / "1_Pooling" / "config.json", pooling_mode="cls")
    code, _, said = bmc("inspect", copy, "--data", texts, "--output", tmp_path / "2")
    assert code == 0, said
    assert f"reading the sentence encoder {copy}, into" in said
    names = [path.parent.name for path in (tmp_path / "runs").glob("*/bmc.json")]
    assert len([name for name in names if re.fullmatch(r"teacher-texts-[0-9a-f]{6}", name)]) == 1
    data = datasets.load(str(texts), task="embedding")
    shutil.copytree(copy, place / "teacher", dirs_exist_ok=True)
    try:
        found, is_read = teachers.find_baseline(str(place / "teacher"), data, None)
    finally:
        _folders.changed(place / "teacher" / "1_Pooling" / "config.json", pooling_mode="mean")
    assert not is_read, found


def test_without_texts_a_folder_is_read_with_movie_reviews_and_a_note(place: Path) -> None:
    said: list[str] = []
    with console.reporting(console.Callback(lambda event: said.append(event.text))):
        texts = encoder_folders.texts_of(str(place / "teacher"), None)
    assert texts is not None
    assert texts.data == "movie-reviews"
    assert "name texts like those that it will embed with --data" in said[0]


def test_python_quantizes_a_folder(place: Path, tmp_path: Path) -> None:
    int8 = package.quantize(place / "teacher", data=place / "texts.txt", output=tmp_path / "int8")
    assert int8.steps == ("quantize/static",)
    assert int8.scores["validation"]["spearman"]["value"] > 0.95
    assert int8.predict("the film").shape == (16,)


def test_which_folders_are_encoders(place: Path, hf_folder: Path, tmp_path: Path) -> None:
    plain = shutil.copytree(place / "teacher", tmp_path / "plain")
    (plain / "modules.json").unlink()
    assert encoder_folders.is_encoder(str(place / "teacher"))
    assert encoder_folders.is_encoder(str(plain))
    _folders.changed(plain / "config.json", architectures=["BertForMaskedLM"])
    assert not encoder_folders.is_encoder(str(plain))
    for other in (str(hf_folder), str(place), "teacher-texts", "x" * 5000, "a\0b", None):
        assert not encoder_folders.is_encoder(other)
    nested = tmp_path / "nested"
    shutil.copytree(place / "teacher", nested / "0_Transformer")
    for name in ("modules.json", "1_Pooling"):
        (nested / "0_Transformer" / name).rename(nested / name)
    assert encoder_folders.is_encoder(str(nested))


def test_an_encoder_with_onnx_files_is_the_encoder_unless_their_options_are_typed(
    place: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(place / "teacher", tmp_path / "both")
    (folder / "onnx").mkdir()
    file = folder / "onnx" / "model.onnx"
    file.write_bytes(b"")
    assert encoder_folders.onnx_file(str(folder)) is None
    assert encoder_folders.onnx_file(str(folder), is_typed_for=True) == file
    assert encoder_folders.onnx_file(str(file)) == file


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("quantize", "--data", "TABLE"), "--text-column COLUMN"),
        (("quantize", "--data", "TEXTS", "--transfer", "TEXTS"), "so it takes no --transfer"),
        (("prune", "--transfer", "TEXTS", "--transfer-size", "5"), "leave --transfer-size out"),
        (("export", "--data", "TEXTS", "--target=onnx", "--simplify"), "are for ONNX files"),
        (("quantize", "--data", "none.txt"), "no data file"),
    ],
)
def test_what_a_folder_cannot_be_read_with_is_refused(
    command: tuple[str, ...], message: str, place: Path, tmp_path: Path, bmc: Run
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("sentence\n" + "".join(f"film number {number}\n" for number in range(30)))
    paths = {"TEXTS": place / "texts.txt", "TABLE": table}
    verb, *options = command
    typed = [paths.get(option, option) for option in options]
    code, _, error = bmc(verb, place / "teacher", *typed)
    assert code == 2
    assert message in error


def test_a_folder_that_bmc_cannot_build_is_refused_as_bmc_train_refuses_it(
    place: Path, tmp_path: Path, bmc: Run
) -> None:
    folder = shutil.copytree(place / "teacher", tmp_path / "folder")
    entries = json.loads((folder / "modules.json").read_text())
    entries.insert(1, {"path": "", "type": "sentence_transformers.LSTM"})
    (folder / "modules.json").write_text(json.dumps(entries))
    code, _, error = bmc("quantize", folder, "--data", place / "texts.txt")
    assert code != 0
    assert "is a 'LSTM', which bmc does not build there" in error


def test_other_models_under_both_names_are_not_replaced(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bmc: Run
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "runs"))
    typed = ("quantize", place / "teacher", "--data", place / "texts.txt")
    (tmp_path / "runs" / "teacher-texts").mkdir(parents=True)
    assert bmc(*typed)[0] == 0
    (directory,) = (tmp_path / "runs").glob("teacher-texts-??????")
    (directory / "bmc.json").unlink()
    code, _, error = bmc(*typed, "--force")
    assert code == 2
    assert f"remove it with bmc remove {directory.name}" in error


def test_the_floor_of_a_folder_is_taught_by_it(place: Path, tmp_path: Path, bmc: Run) -> None:
    names = ("teacher-texts-static-onnx", "--no-bench", "--output", tmp_path / "report")
    code, _, error = bmc("report", *names)
    assert code == 0, error
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    floor = {line["name"]: line for line in content["lines"] if line["floor"]}
    assert list(floor) == ["floor-svd-texts-onnx", "floor-ngram-texts-onnx"]
    assert "taught by teacher-texts" in floor["floor-ngram-texts-onnx"]["floor"]
    for line in floor.values():
        assert np.isfinite(line["scores"]["spearman"]["value"])
