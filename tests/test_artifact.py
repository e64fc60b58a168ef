"""Model directories: what is written is what is read, whole, and nothing else."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bmc import artifact
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset
from bmc.errors import ArtifactError, UnknownError, UsageError
from bmc.files import sha256_of_folder
from bmc.inputs.text import TextEncoder
from bmc.model import AppliedStep, Model
from bmc.models import bert, transformer
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

FILES = {
    "bmc.json",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def outputs_of(model: Model) -> Tensor:
    with torch.inference_mode():
        return model.module(**bert.examples(model.module)[0]).logits  # type: ignore[no-any-return]


def text_encoder(model: Model) -> TextEncoder:
    assert isinstance(model.encoder, TextEncoder)
    return model.encoder


def edit(folder: Path, **changes: Any) -> None:
    """Change bmc.json, with hashes that fit whatever lies in the folder."""
    manifest = json.loads((folder / "bmc.json").read_text())
    manifest["files"] = sha256_of_folder(folder, leave_out="bmc.json")
    (folder / "bmc.json").write_text(json.dumps({**manifest, **changes}))


def split_model(model: Model, data: Dataset, folder: Path) -> Model:
    """Apply the structural step to a model."""
    settings = TrainingSettings(device="cpu")
    work = work_for(data, (), settings, folder, folder, artifact.load, run="")  # type: ignore[arg-type]
    step = LowRank(energy=0.5)
    record = step.apply(model, work)
    model.steps = [AppliedStep("share/lowrank", asdict(step), record, 0, 0.0)]
    return model


@pytest.fixture(scope="module")
def saved(make_model: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the model that the fixture `model` returns."""
    return artifact.save(make_model(), tmp_path_factory.mktemp("model") / "saved")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Return a copy of that directory."""
    return Path(shutil.copytree(saved, tmp_path / "saved"))


def test_a_saved_model_comes_back_bit_equal(model: Model, tmp_path: Path) -> None:
    model.scores = {"validation_accuracy": 0.75}
    model.origin = {"command": "train"}
    model.data = {"reference": "x.csv", "fingerprint": "0"}
    loaded = artifact.load(artifact.save(model, tmp_path / "saved"))
    before, after = model.module.state_dict(), loaded.module.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(outputs_of(model), outputs_of(loaded))
    for part in ("family", "spec", "labels", "task", "data", "steps", "scores", "origin"):
        assert getattr(loaded, part) == getattr(model, part)
    assert loaded.encoder.to_json() == model.encoder.to_json()
    assert text_encoder(loaded).tokenizer.to_str() == text_encoder(model).tokenizer.to_str()


def test_a_step_record_rebuilds_the_shapes(model: Model, reviews: Dataset, tmp_path: Path) -> None:
    whole = sum(value.numel() for value in model.module.parameters())
    changed = split_model(model, reviews, tmp_path)
    loaded = artifact.load(artifact.save(changed, tmp_path / "saved"))
    shapes = {name: value.shape for name, value in changed.module.state_dict().items()}
    assert {name: value.shape for name, value in loaded.module.state_dict().items()} == shapes
    assert sum(value.numel() for value in loaded.module.parameters()) < whole
    assert torch.equal(outputs_of(changed), outputs_of(loaded))
    assert [step.record for step in loaded.steps] == [step.record for step in changed.steps]


def test_a_folder_holds_the_known_files_and_every_one_is_hashed(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    assert set(artifact.describe(folder)["files"]) == FILES - {"bmc.json"}


def test_no_written_file_is_a_pickle(folder: Path) -> None:
    for path in folder.iterdir():
        if path.suffix == ".safetensors":
            load_file(path)
        else:
            assert isinstance(json.loads(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("change", ["a tensor less", "a tensor more", "another shape"])
def test_weights_that_do_not_fit_are_refused(folder: Path, change: str) -> None:
    weights = load_file(folder / "model.safetensors")
    if change == "a tensor less":
        del weights["classifier.bias"]
    elif change == "a tensor more":
        weights["classifier.extra"] = torch.zeros(2)
    else:
        weights["classifier.bias"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors")
    edit(folder)
    with pytest.raises(ArtifactError, match="the weights do not fit the model"):
        artifact.load(folder)


def test_a_changed_file_is_refused(folder: Path) -> None:
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ArtifactError, match=r"'tokenizer.json' was changed"):
        artifact.load(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"lacks its file 'model.safetensors'"):
        artifact.load(folder)


class _Burglar:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_pickled_weights_are_refused_and_never_run(folder: Path, how: str, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    with (folder / "model.safetensors").open("wb") as file:
        (pickle.dump if how == "pickle" else torch.save)({"x": _Burglar(mark)}, file)
    edit(folder)
    with pytest.raises(ArtifactError):
        artifact.load(folder)
    assert not mark.exists()


def test_a_newer_schema_is_refused_with_the_way_out(folder: Path) -> None:
    edit(folder, schema=artifact.SCHEMA + 1)
    with pytest.raises(ArtifactError, match="pip install --upgrade"):
        artifact.load(folder)


@pytest.mark.parametrize("schema", [None, "1", 0, -1])
def test_a_folder_without_a_schema_number_is_refused(folder: Path, schema: Any) -> None:
    edit(folder, schema=schema)
    with pytest.raises(ArtifactError, match="no schema number"):
        artifact.load(folder)


@pytest.mark.parametrize("family", ["os", "os.path", "python:evil:run", "../evil", "", "__main__"])
def test_a_family_that_bmc_does_not_have_is_refused(folder: Path, family: str) -> None:
    edit(folder, family=family)
    with pytest.raises((UnknownError, ArtifactError), match=re.escape(repr(family))) as caught:
        artifact.load(folder)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "method", ["os/path", "share/../evil", "python:evil:run", "share/_teacher", "share", "", "/", 3]
)
def test_a_step_that_bmc_does_not_have_is_refused(folder: Path, method: Any) -> None:
    step = {"method": method, "settings": {}, "record": {}, "seed": 0, "seconds": 0.0}
    edit(folder, steps=[step])
    with pytest.raises((UnknownError, ArtifactError), match=r"^no (technique|kind|.*method)|step"):
        artifact.load(folder)


@pytest.mark.parametrize(
    "record",
    [
        {"no.such.layer": 4},
        {"classifier": "four"},
        {"classifier": -1},
        {"classifier": None},
        {"bert.embeddings": 2},
        ["classifier"],
    ],
)
def test_a_record_that_fits_no_layer_is_refused(folder: Path, record: Any) -> None:
    step = {"method": "share/lowrank", "settings": {}, "record": record, "seed": 0, "seconds": 0.0}
    edit(folder, steps=[step])
    with pytest.raises((ArtifactError, UsageError), match=r"rank|layer|share/lowrank|malformed"):
        artifact.load(folder)


@pytest.mark.parametrize("step", [{}, {"method": "share/lowrank"}, "share/lowrank", None])
def test_a_malformed_step_is_refused(folder: Path, step: Any) -> None:
    edit(folder, steps=[step])
    with pytest.raises(ArtifactError, match="malformed"):
        artifact.load(folder)


def test_a_config_that_names_code_to_run_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.py--Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    edit(folder)
    with pytest.raises(ArtifactError, match="names code to run"):
        artifact.load(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2"},
        {"hidden_size": 30, "num_attention_heads": 4},
        {"hidden_size": "wide"},
        {"vocab_size": -1},
        {"hidden_act": "import os"},
    ],
)
def test_a_config_that_builds_no_bert_is_refused(folder: Path, config: dict[str, Any]) -> None:
    whole = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**whole, **config}))
    edit(folder)
    with pytest.raises(ArtifactError):
        artifact.load(folder)


@pytest.mark.parametrize(
    "key", ["family", "task", "labels", "inputs", "data", "steps", "origin", "files"]
)
def test_a_manifest_that_lacks_a_key_is_refused_by_name(folder: Path, key: str) -> None:
    edit(folder, **{key: None})
    with pytest.raises(ArtifactError, match=key):
        artifact.load(folder)


def test_a_folder_that_is_no_model_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not a model directory: it has no bmc.json"):
        artifact.load(tmp_path)


def test_an_output_that_exists_is_kept_unless_forced(
    model: Model, folder: Path, make_lively: Callable[[], Model]
) -> None:
    with pytest.raises(UsageError, match="--force"):
        artifact.save(make_lively(), folder)
    assert torch.equal(outputs_of(artifact.load(folder)), outputs_of(model))
    other = make_lively()
    artifact.save(other, folder, force=True)
    assert torch.equal(outputs_of(artifact.load(folder)), outputs_of(other))
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


_KILLED_SAVES = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)  # a fork of a process with threads would wait for them for ever
os.fsync = lambda descriptor: None  # the processes are killed, not the machine
from bmc import artifact, disk

def save_and_die(folder, number):
    seen = []
    def watch(operation, path):
        seen.append(operation)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
    disk.watch(watch)
    artifact.save(model, folder, force=True)

model = artifact.load(Path(sys.argv[1]))
model.labels = ("changed", "labels")
number = 0
while True:
    number += 1
    child = os.fork()
    if not child:
        save_and_die(Path(sys.argv[2]), number)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    loaded = artifact.load(Path(sys.argv[2]))
    if code == 0:
        break
    assert code == -signal.SIGKILL
    print(loaded.labels[0], flush=True)
"""


def test_a_save_killed_at_any_step_leaves_the_old_directory_or_the_new_one(
    reviews: Dataset, tmp_path: Path
) -> None:
    """Processes kill themselves before each change on disk: no handler can run then.

    Their network needs no transformers, whose import takes longer than the saves.
    """
    small = transformer.Settings(layers=1, hidden=16, heads=2, vocabulary=200)
    model = transformer.baseline("transformer", reviews, small)
    folder = artifact.save(model, tmp_path / "model")
    copy = tmp_path / "copies" / "saved"
    shutil.copytree(folder, copy)
    command = [sys.executable, "-c", _KILLED_SAVES, str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    left = done.stdout.split()
    assert left == sorted(left, key=lambda label: label == "changed")
    assert {model.labels[0], "changed"} == set(left)
    assert artifact.load(copy).labels == ("changed", "labels")
    assert [path.name for path in copy.parent.iterdir()] == ["saved"]


def test_a_bert_directory_is_a_hugging_face_folder(lively_folder: Path) -> None:
    model = artifact.load(lively_folder)
    reference = AutoModelForSequenceClassification.from_pretrained(
        lively_folder, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(lively_folder, local_files_only=True)
    texts = "An uneven but Charming film,", "isn't it?"
    inputs = tokenizer(*texts, return_tensors="pt")
    encoder = text_encoder(model)
    ours = encoder.tokenizer.encode(*texts)
    assert inputs["input_ids"][0].tolist() == ours.ids
    assert inputs["token_type_ids"][0].tolist() == ours.type_ids
    with torch.inference_mode():
        assert torch.equal(reference(**inputs).logits, model.module.eval()(**inputs).logits)
    assert reference.config.id2label == dict(enumerate(model.labels))
    assert tokenizer.model_max_length == encoder.settings.max_length


def test_the_hugging_face_tokenizer_keeps_the_case_that_ours_keeps(
    model: Model, tmp_path: Path
) -> None:
    from tokenizers.normalizers import BertNormalizer

    lowercase = text_encoder(model)
    model.encoder = encoder = TextEncoder(lowercase.tokenizer, lowercase.settings)
    encoder.tokenizer.normalizer = BertNormalizer(lowercase=False)
    folder = artifact.save(model, tmp_path / "cased")
    reference = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = "Charming Film, É"
    assert reference(text)["input_ids"] == encoder.tokenizer.encode(text).ids


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("hidden_act", "relu", "has other outputs"), ("hidden_size", 16, "could not be loaded")],
)
def test_a_model_whose_directory_would_not_give_it_back_is_not_written(
    make_lively: Callable[..., Model], tmp_path: Path, key: str, value: object, reason: str
) -> None:
    copied = make_lively()
    copied.spec = {**copied.spec, key: value}
    with pytest.raises(ArtifactError, match=f"out was not written: .*{reason}"):
        artifact.save(copied, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_outputs_that_change_are_seen_beside_infinite_ones_and_nan(
    make_lively: Callable[..., Model], tmp_path: Path, value: float
) -> None:
    copied = make_lively()
    with torch.no_grad():
        copied.module.get_parameter("classifier.bias")[0] = value
    artifact.save(copied, tmp_path / "same")
    copied.spec = {**copied.spec, "hidden_act": "relu"}
    with pytest.raises(ArtifactError, match="has other outputs"):
        artifact.save(copied, tmp_path / "out")
