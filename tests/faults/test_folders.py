"""A folder's head and weights: rows follow the names of the classes, files are what they say."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bmc import artifact
from bmc.errors import ArtifactError
from bmc.inputs.text import TextSettings
from bmc.model import Model
from bmc.models import bert, mpnet
from tests.faults import _folders

TEXT = TextSettings(24)


def head(model: Model) -> torch.Tensor:
    path = bert.parts(model.module).outputs[0] if model.family == "bert" else "classifier.out_proj"
    return model.module.get_parameter(f"{path}.weight").detach()


def theirs(folder: Path) -> torch.Tensor:
    name = "classifier.out_proj.weight" if folder.name == "of_mpnet" else "classifier.weight"
    return load_file(folder / "model.safetensors")[name]


def answering(folder: Path, labels: tuple[str, ...], **config: Any) -> Path:
    """Save a BERT whose head answers these labels, in this order."""
    _folders.uncased(folder)
    _folders.bert(len(_folders.vocabulary()), labels).save_pretrained(folder)
    _folders.changed(folder / "config.json", **config)
    return folder


# the head's rows


@pytest.mark.parametrize("make", [_folders.uncased, _folders.of_mpnet])
def test_the_heads_rows_follow_the_names_of_the_classes(
    make: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / make.__name__)  # its rows are good, bad
    family: Any = mpnet if make is _folders.of_mpnet else bert
    model = family.pretrained(str(folder), ("bad", "good"), TEXT)
    assert torch.equal(head(model), theirs(folder)[[1, 0]])
    assert "the folder's head is kept by its names: 'bad', 'good'" in capsys.readouterr().err
    assert model.origin["pretrained"]["rows"] == [1, 0]
    assert model.spec["id2label"] == {0: "bad", 1: "good"}
    again = artifact.load(artifact.save(model, tmp_path / "model"))
    assert torch.equal(head(again), head(model))


def test_names_that_partly_match_keep_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = answering(tmp_path / "folder", ("good", "bad", "odd"))
    model = bert.pretrained(str(folder), ("bad", "fine", "good"), TEXT)
    assert torch.equal(head(model)[[0, 2]], theirs(folder)[[1, 0]])
    assert not torch.equal(head(model)[1], theirs(folder)[2])
    err = capsys.readouterr().err
    assert "kept by its names: 'bad', 'good'; fresh rows: 'fine'; left out: 'odd'" in err


def test_classes_that_the_data_lacks_are_left_out(tmp_path: Path) -> None:
    folder = answering(tmp_path / "folder", ("good", "bad", "odd"))
    model = bert.pretrained(str(folder), ("bad", "odd"), TEXT)
    assert torch.equal(head(model), theirs(folder)[[1, 2]])


@pytest.mark.parametrize("labels", [("POSITIVE", "NEGATIVE"), ("LABEL_0", "LABEL_1")])
def test_names_of_which_none_is_the_datas_make_a_fresh_head(
    labels: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = answering(tmp_path / "folder", labels)
    model = bert.pretrained(str(folder), ("negative", "positive"), TEXT)
    assert not torch.isclose(head(model), theirs(folder)).any()
    assert head(model).std() < 0.1
    err = capsys.readouterr().err
    assert "a fresh head" in err
    assert ("'POSITIVE', 'NEGATIVE'" in err) == (labels[0] == "POSITIVE")


def test_default_names_are_names_where_the_data_has_them(tmp_path: Path) -> None:
    folder = answering(tmp_path / "folder", ("LABEL_0", "LABEL_1"))
    model = bert.pretrained(str(folder), ("LABEL_0", "LABEL_1"), TEXT)
    assert torch.equal(head(model), theirs(folder))


def test_label2id_alone_names_the_rows(tmp_path: Path) -> None:
    folder = answering(tmp_path / "folder", ("a", "b"), id2label=None, label2id={"y": 1, "x": 0})
    model = bert.pretrained(str(folder), ("y", "x"), TEXT)
    assert torch.equal(head(model), theirs(folder)[[1, 0]])


def test_without_names_the_head_is_fresh(tmp_path: Path) -> None:
    folder = answering(tmp_path / "folder", ("a", "b", "c"), id2label=None, label2id=None)
    model = bert.pretrained(str(folder), ("a", "b", "c"), TEXT)
    assert head(model).shape == (3, 16)
    assert not torch.isclose(head(model), theirs(folder)).any()


def test_a_regressions_head_is_kept_for_a_regression_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = answering(tmp_path / "folder", (), problem_type="regression")
    value = bert.pretrained(str(folder), (), TEXT)
    assert value.task == "regression"
    assert torch.equal(head(value), theirs(folder))
    assert value.spec["problem_type"] == "regression"
    assert "outputs one number, and is kept" in capsys.readouterr().err
    classes = bert.pretrained(str(folder), ("a", "b"), TEXT)
    assert head(classes).shape == (2, 16)
    assert "a fresh head" in capsys.readouterr().err
    classifier = bert.pretrained(str(_folders.uncased(tmp_path / "classes")), (), TEXT)
    assert head(classifier).shape == (1, 16)
    assert "a fresh head: the data is for a regression, with one output" in capsys.readouterr().err


def test_a_regressions_kept_head_is_not_put_into_the_datas_units(
    tmp_path: Path, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    folder = answering(tmp_path / "folder", (), problem_type="regression")
    lines = [f"the film {n} is {n % 7},{n % 7 + 0.5}" for n in range(60)]
    (tmp_path / "stars.csv").write_text("\n".join(["text,label", *lines]))
    code, _, err = bmc(
        *("train", folder, "--data", tmp_path / "stars.csv", "--task", "regression", "--seed", 1),
        *("--epochs", 1, "--learning-rate", "1e-9", "--max-length", 24, "-o", tmp_path / "model"),
    )
    assert code == 0, err
    model = artifact.load(tmp_path / "model")
    torch.testing.assert_close(head(model), theirs(folder), atol=1e-4, rtol=0)
    assert model.origin["pretrained"]["rows"] == [0]


CONFLICTS: dict[str, tuple[dict[str, Any], str]] = {
    "two orders": ({"label2id": {"good": 1, "bad": 0}}, "id2label says .*label2id says"),
    "one name twice": ({"id2label": {"0": "good", "1": "good"}}, "names 'good' twice"),
    "a gap": ({"id2label": {"0": "good", "2": "bad"}}, "must number the classes"),
    "a list": ({"id2label": ["good", "bad"]}, "must number the classes"),
    "a name that is none": ({"id2label": {"0": "good", "1": None}}, "must number the classes"),
    "a number that is none": ({"id2label": {"0": "good", "x": "bad"}}, "must number the classes"),
    "label2id of lists": ({"label2id": {"good": [0], "bad": 1}}, "must number the classes"),
    "another number of labels": ({"num_labels": 3}, "num_labels is 3, but id2label has 2"),
    "more names than rows": (
        {"id2label": {"0": "good", "1": "bad", "2": "odd"}, "label2id": None},
        "names 3 classes .* but the head has 2 rows",
    ),
    "several labels": ({"problem_type": "multi_label_classification"}, "several labels"),
    "a regression of two": ({"problem_type": "regression"}, "a regression has one"),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_names_that_contradict_each_other_are_refused(name: str, tmp_path: Path) -> None:
    changes, message = CONFLICTS[name]
    folder = _folders.uncased(tmp_path / "folder")
    _folders.changed(folder / "config.json", **changes)
    with pytest.raises(ArtifactError, match=message):
        bert.pretrained(str(folder), ("bad", "good"), TEXT)


def test_a_fine_tuned_folder_trains_on_to_what_it_answered(
    tmp_path: Path, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    """What the labels are called decides, not their place in the alphabet."""
    folder = _folders.uncased(tmp_path / "folder")
    model = bert.pretrained(str(folder), _folders.LABELS, TEXT)
    texts = [
        f"{word} the film {letter} {n}"
        for n in range(10)
        for word in ("great", "bad", "new")
        for letter in "abcde"
    ]
    tensors = model.encoder.batch(model.encoder.encode(texts), range(len(texts)))
    with torch.no_grad():
        logits = model.module(**{key: torch.from_numpy(value) for key, value in tensors.items()})
    labels = [_folders.LABELS[index] for index in logits.logits.argmax(dim=1).tolist()]
    assert len(set(labels)) == 2
    rows = [f"{text},{label}" for text, label in zip(texts, labels, strict=True)]
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]))
    code, _, err = bmc(
        *("train", folder, "--data", tmp_path / "data.csv", "--epochs", 1, "--max-length", 24),
        *("--learning-rate", "1e-9", "-o", tmp_path / "model", "--seed", 0),
    )
    assert code == 0, err
    assert artifact.load(tmp_path / "model").scores["validation_accuracy"] == 1.0


# files of weights


@pytest.mark.parametrize("make", [_folders.sharded, _folders.half, _folders.headless])
def test_every_tensor_of_a_folder_is_read(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path / make.__name__)
    model = bert.pretrained(str(folder), ("bad", "good"), TEXT)
    stored: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        stored |= load_file(path)
    for name, value in model.module.state_dict().items():
        if name.startswith("classifier"):
            continue
        entry = stored[name if name in stored else name.removeprefix("bert.")]
        np.testing.assert_array_equal(value.numpy(), entry.float().numpy(), err_msg=name)


def indexed(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        _folders.changed(folder / "model.safetensors.index.json", **changes)

    return change


def without_a_shard(folder: Path) -> None:
    next(folder.glob("model-*.safetensors")).unlink()


def with_a_damaged_shard(folder: Path) -> None:
    path = next(folder.glob("model-*.safetensors"))
    path.write_bytes(path.read_bytes()[:-8])


def with_a_tensor_elsewhere(folder: Path) -> None:
    path = folder / "model.safetensors.index.json"
    content = json.loads(path.read_text())
    names, files = list(content["weight_map"]), sorted(set(content["weight_map"].values()))
    other = next(file for file in files if file != content["weight_map"][names[0]])
    content["weight_map"][names[0]] = other
    path.write_text(json.dumps(content))


def no_json(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[")


def no_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()


def an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a missing shard": (without_a_shard, "which its index names"),
    "a damaged shard": (with_a_damaged_shard, "is damaged"),
    "a tensor in another shard": (with_a_tensor_elsewhere, "lists for it"),
    "an index that is no JSON": (no_json, "not readable JSON"),
    "no index": (no_index, "pickled weights are not read"),
    "an empty index": (indexed(weight_map={}), "no weight_map"),
    "no weight_map": (indexed(weight_map=None), "no weight_map"),
    "a file above": (indexed(weight_map={"a": "../model.safetensors"}), "leaves its folder"),
    "a file anywhere": (indexed(weight_map={"a": "/tmp/model.safetensors"}), "leaves its folder"),
    "a pickle": (indexed(weight_map={"a": "pytorch_model.bin"}), "not a safetensors file"),
    "a number": (indexed(weight_map={"a": 3}), "not a safetensors file"),
    "an adapter": (an_adapter, "merge_and_unload"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_of_shards_is_refused_by_name(name: str, tmp_path: Path) -> None:
    change, message = BROKEN[name]
    folder = _folders.sharded(tmp_path / "folder")
    change(folder)
    with pytest.raises(ArtifactError, match=message):
        bert.pretrained(str(folder), ("bad", "good"), TEXT)


def test_weights_that_are_no_floats_are_refused(tmp_path: Path) -> None:
    folder = _folders.uncased(tmp_path / "folder")
    weights = load_file(folder / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    weights[name] = weights[name].to(torch.int8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="I8; bmc reads floating-point weights"):
        bert.pretrained(str(folder), ("bad", "good"), TEXT)


@pytest.mark.parametrize(
    "change",
    [{"vocab_size": 3_000_000}, {"intermediate_size": 100_000}, {"num_hidden_layers": 200}],
)
def test_a_config_larger_than_its_weights_is_refused_before_it_is_built(
    change: dict[str, int], tmp_path: Path
) -> None:
    folder = _folders.uncased(tmp_path / "folder")
    _folders.changed(folder / "config.json", **change)
    with pytest.raises(ArtifactError, match="do not fit its config"):
        bert.pretrained(str(folder), ("bad", "good"), TEXT)


@pytest.mark.parametrize("header", [b"", b"{}", b"[" * 1000, b'{"a": {"dtype": "F32"}}'])
def test_a_header_that_is_none_is_refused(header: bytes, tmp_path: Path) -> None:
    folder = _folders.uncased(tmp_path / "folder")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ArtifactError, match=r"model\.safetensors|weights"):
        bert.pretrained(str(folder), ("bad", "good"), TEXT)
