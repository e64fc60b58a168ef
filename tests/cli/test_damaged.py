"""Model directories and bundles that are none, or damaged, or hostile: refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli._refusals import Run, edit, refused


def test_a_folder_that_is_no_model_directory_says_what_it_lacks(
    bmc: Run, tmp_path: Path, bundle_of: Callable[[str], Path], reviews_csv: Path
) -> None:
    (tmp_path / "empty").mkdir()
    data = ("--data", reviews_csv)
    for folder in (tmp_path / "empty", bundle_of("onnx")):
        refused(bmc("export", folder, "--target", "onnx"), str(folder), "no bmc.json")
        refused(bmc("train", folder, *data), str(folder), "no config.json")
    empty = tmp_path / "empty"  # a bundle is a teacher
    refused(bmc("distill", "--teacher", empty, *data), str(empty), "no bmc.json")


def test_a_model_directory_is_no_bundle(bmc: Run, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", model_folder):
        for verb in ("predict", "check", "bench"):
            text = ["what a film"] if verb == "predict" else []
            refused(bmc(verb, folder, *text), str(folder), "no manifest.json")


def test_a_model_directory_of_a_newer_bmc_says_how_to_upgrade(bmc: Run, made_model: Path) -> None:
    edit(made_model / "bmc.json", schema=99)
    line = refused(bmc("export", made_model, "--target", "onnx"), "schema 99")
    assert "pip install --upgrade bmc-toolkit" in line


@pytest.mark.parametrize("family", ["os.system", "../evil", "python:evil:run", "bert; rm"])
def test_a_model_directory_that_names_code_to_run_is_refused(
    bmc: Run, made_model: Path, family: str
) -> None:
    edit(made_model / "bmc.json", family=family)
    refused(bmc("export", made_model, "--target", "onnx"), "code to run", family)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data": {"text_columns": 5}}, ["text_columns", "5"]),
        ({"data": {"fold": 3}}, ["fold", "3"]),
        ({"data": {"fold": [1]}}, ["fold", "[1]"]),
        ({"data": {"task": 7}}, ["no task named '7'"]),
        ({"origin": {"settings": 3}}, ["origin", "no sense"]),
        ({"origin": {"settings": {"learning_rate": "x"}}}, ["origin", "no sense"]),
    ],
    ids=str,
)
def test_a_model_directory_that_records_nonsense_is_refused(
    changed: dict[str, dict[str, Any]], words: list[str], bmc: Run, made_model: Path
) -> None:
    manifest = json.loads((made_model / "bmc.json").read_text())
    edit(
        made_model / "bmc.json",
        **{key: {**manifest[key], **entry} for key, entry in changed.items()},
    )
    refused(bmc("prune", made_model, "--method", "depth", "--ratio", "0.5", "--quiet"), *words)


def test_a_step_that_is_no_step_of_bmcs_is_refused(bmc: Run, made_model: Path) -> None:
    for method in ("os/system", "../../evil", "share/../../evil", ""):
        step: dict[str, Any] = {
            "method": method,
            "settings": {},
            "record": {},
            "seed": 0,
            "seconds": 0,
        }
        edit(made_model / "bmc.json", steps=[step])
        refused(bmc("export", made_model, "--target", "onnx"))


def test_a_hugging_face_folder_that_is_damaged_is_refused(
    bmc: Run, hf_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(hf_folder, tmp_path / "hf"))
    config = (folder / "config.json").read_text()
    for content in (
        "{",
        "[]",
        '{"model_type": "gpt2"}',
        '{"model_type": "bert", "vocab_size": []}',
    ):
        (folder / "config.json").write_text(content)
        refused(bmc("train", folder, "--data", reviews_csv), str(folder))
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(b"junk")
    refused(bmc("train", folder, "--data", reviews_csv), str(folder))
    (folder / "model.safetensors").unlink()
    refused(bmc("train", folder, "--data", reviews_csv), "no model.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_file_of_a_model_directory_is_named(
    bmc: Run, made_model: Path, name: str, workspace: Path
) -> None:
    with (made_model / name).open("ab") as file:
        file.write(b" ")
    refused(bmc("export", made_model, "--target", "onnx"), name, "changed", "sha256")
    assert not workspace.exists()


def test_data_other_than_the_model_was_trained_on_is_refused(
    bmc: Run, made_model: Path, csv: Callable[[str], Path]
) -> None:
    path = csv("text,label\n" + "".join(f"t{n},{'ab'[n % 2]}\n" for n in range(99)))
    line = refused(bmc("export", made_model, "--target", "onnx", "--data", path), "fingerprint")
    assert "--data" in line


@pytest.mark.parametrize("verb", ["predict", "check", "bench"])
def test_a_damaged_or_hostile_bundle_is_refused_by_every_verb(
    bmc: Run, made_bundle: Path, verb: str
) -> None:
    manifest = made_bundle / "manifest.json"
    whole = manifest.read_text()
    command = (verb, made_bundle, *(["what a film"] if verb == "predict" else []))

    def prediction(text: str, *words: str) -> None:
        manifest.write_text(text)
        refused(bmc(*command), *words)

    prediction("{", "manifest.json", "not readable JSON")
    prediction("[]", "manifest.json")
    prediction(whole.replace("negative", "positive", 1), "manifest.json was changed")
    content = json.loads(whole)
    prediction(json.dumps({**content, "schema": 99}), "schema 99", "upgrade")
    for key in ("digest", "sizes"):  # as an older bundle, whose manifest no hash covers
        del content[key]
    prediction(json.dumps({**content, "labels": 7}), "7 is not of type list")
    prediction(json.dumps({**content, "model": "../outside"}), "leaves its folder")
    for name in ("../outside", "/etc/passwd"):
        prediction(json.dumps({**content, "files": {name: "0" * 64}}), name, "leaves its folder")
    manifest.write_text(whole)
    with (made_bundle / "model.onnx").open("ab") as file:
        file.write(b"\0")
    refused(bmc(*command), "model.onnx", "changed", "bytes")


def test_a_bundle_that_answers_differently_fails_its_check(bmc: Run, made_bundle: Path) -> None:
    import numpy as np

    from bmc import bundle as bundles

    bundle = bundles.read(made_bundle)
    inputs, outputs = bundle.golden()
    other = {name: array + 1 for name, array in outputs.items()}
    bundles.write_golden(made_bundle / bundles.GOLDEN, inputs, other)
    bundles.write(made_bundle, bundle.manifest)
    refused(bmc("check", made_bundle), "has other outputs", "allowed", code=1)
    nan = {name: np.full_like(array, np.nan) for name, array in outputs.items()}
    bundles.write_golden(made_bundle / bundles.GOLDEN, inputs, nan)
    bundles.write(made_bundle, bundle.manifest)
    refused(bmc("check", made_bundle), "has other outputs", code=1)
