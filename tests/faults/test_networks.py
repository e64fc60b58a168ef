"""Strange networks: each is trained, changed and exported, or refused in a sentence that names why.

All of them through all verbs: python tests/faults/cross.py FILE.json
"""

from __future__ import annotations

import importlib
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bmc import artifact, pipeline
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.errors import BmcError
from bmc.model import Model, find_outputs, output_of
from bmc.models import python
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model
from bmc.trust import trust

Bmc = Callable[..., tuple[int, str, str]]
HERE = Path(__file__).parent
ROWS = 60


@pytest.fixture(scope="module")
def nets() -> Iterator[Any]:
    """Return the module of strange networks, importable by name as a user's would be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        yield importlib.import_module("nets")
    trust("")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 60 small images in three classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, ROWS)
    noise = random.integers(0, 90, (ROWS, 12, 12, 3)) + 90 * np.eye(3)[labels][:, None, None]
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, images=np.clip(noise, 0, 255).astype(np.uint8), labels=labels)
    return path


def built(name: str, images: Path) -> Model:
    """Build a network for the images, as training does."""
    torch.manual_seed(0)
    return python.baseline(f"python:nets:{name}", datasets.load(str(images)), python.Settings())


@pytest.fixture(scope="module")
def trained(
    nets: Any, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that trains a network for one epoch, once a module."""
    parent = tmp_path_factory.mktemp("trained")

    def train(name: str) -> Path:
        folder = parent / name
        if not folder.exists():
            data = datasets.load(str(images))
            model = built(name, images)
            settings = TrainingSettings(epochs=1, device="cpu", precision="fp32")
            fitted = fit_model(model, data, settings, parent / f"checkpoints-{name}")
            model.scores = fitted.to_json()
            model.data = {"reference": str(images), "fingerprint": data.fingerprint}
            artifact.save(model, folder)
        return folder

    return train


def test_every_network_that_can_be_trained_is_taken(nets: Any, images: Path) -> None:
    for name in nets.TRAINED:
        model = built(name, images)
        assert python.build(model.spec).state_dict().keys()
        assert not any(nn.parameter.is_lazy(value) for value in model.module.parameters())


def test_every_other_network_is_refused_by_name_before_it_is_trained(
    nets: Any, images: Path
) -> None:
    for name, reason in nets.REFUSED.items():
        if name == "not_a_number":  # training says it
            continue
        with pytest.raises(BmcError) as caught:
            built(name, images)
        assert reason in str(caught.value), name
        assert len(str(caught.value).splitlines()) == 1
        assert caught.value.exit_code == 2


def test_a_network_that_fails_is_said_with_its_file_and_line(
    nets: Any, images: Path, bmc: Bmc
) -> None:
    code, _, err = bmc("train", "python:nets:raising", "--data", images, "--epochs", 1)
    line = 1 + (HERE / "nets.py").read_text().splitlines().index(
        '        raise ValueError("no such luck")'
    )
    assert code == 2
    assert f"the network fails in nets.py:{line}, in forward: ValueError: no such luck" in err
    assert "bug in bmc" not in err


def test_a_network_that_fails_after_it_was_loaded_is_said_too(
    nets: Any, trained: Callable[[str], Path], bmc: Bmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained("batch_as_size")

    def fail(network: nn.Module, pixels: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(nets.BatchAsSize, "forward", fail)
    for words in (("export", folder, "--target", "onnx"), ("inspect", folder), ("prune", folder)):
        code, _, err = bmc(*words, "--code", "nets:batch_as_size")
        assert code == 2, err
        assert "test_networks.py" in err
        assert "ZeroDivisionError: by nothing" in err
        assert "bug in bmc" not in err


@pytest.mark.parametrize("name", ["patches", "batch_as_int", "row_by_row"])
def test_a_batch_size_in_the_graph_is_said_with_its_line_and_rows_are_answered_one_by_one(
    name: str, trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    output = tmp_path / name
    words = ("--target", "onnx", "--code", f"nets:{name}", "-o", output)
    code, _, err = bmc("export", trained(name), *words)
    assert code == 0, err
    assert "turns the batch size into a constant (nets.py:" in err
    build = bundles.read(output).manifest.build
    assert build["max_batch"] == 1
    assert build["fixed_batch"].startswith("nets.py:")
    images = [np.zeros((12, 12, 3), np.uint8)] * 3
    assert len(pipeline.load(output)(images)) == 3


def test_a_free_batch_size_stays_free(
    trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    output = tmp_path / "free"
    words = ("--target", "onnx", "--code", "nets:batch_as_size", "-o", output)
    assert bmc("export", trained("batch_as_size"), *words)[0] == 0
    assert "max_batch" not in bundles.read(output).manifest.build


@pytest.mark.parametrize("name", ["gru_bidirectional", "gru_two_layers", "lstm_projected"])
def test_recurrent_layers_that_cannot_be_cut_are_not_pruned_with_the_reason(
    name: str, trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    words = ("--code", f"nets:{name}", "--epochs", 0, "-o", tmp_path / name)
    code, _, err = bmc("prune", trained(name), *words)
    assert code == 2
    assert "network.cell is not pruned: network.cell depends on its units" in err
    assert "found nothing to change" in err


def test_a_map_that_is_read_flattened_and_as_its_mean_ends_pruning_soon(
    trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    folder = trained("flat_and_mean")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = ("--code", "nets:flat_and_mean", "--epochs", 0, "-o", tmp_path / "pruned")
    code, _, err = bmc("prune", folder, *words)
    assert code == 0, err
    assert "network.conv is not pruned" in err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * 2**20  # kB


@pytest.mark.parametrize("name", ["auxiliary", "as_list", "as_dictionary", "as_named_tuple"])
def test_the_main_of_several_answers_is_trained_and_the_others_with_a_weight(
    name: str, nets: Any, images: Path, tmp_path: Path
) -> None:
    data = datasets.load(str(images))
    moved = {}
    for weight in (0.0, 0.3):
        model = built(name, images)
        before = {key: value.clone() for key, value in model.module.state_dict().items()}
        settings = TrainingSettings(epochs=1, device="cpu", auxiliary_weight=weight, weight_decay=0)
        fit_model(model, data, settings, tmp_path / str(weight))
        after = model.module.state_dict()
        moved[weight] = {key for key in after if not torch.equal(after[key], before[key])}
    assert "network.head.weight" in moved[0.0]
    assert moved[0.3] - moved[0.0] == {"network.auxiliary.weight", "network.auxiliary.bias"}


def test_a_weight_for_answers_that_are_not_there_is_refused(
    nets: Any, images: Path, bmc: Bmc
) -> None:
    typed = ("--auxiliary-weight", 0.3, "--epochs", 1)
    code, _, err = bmc("train", "python:nets:normed", "--data", images, *typed)
    assert code == 2
    assert "no auxiliary output" in err


def test_pruning_keeps_heads_that_training_alone_reads_in_step(
    trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    output = tmp_path / "pruned"
    words = ("--code", "nets:auxiliary", "--epochs", 1, "-o", output)
    code, _, err = bmc("prune", trained("auxiliary"), *words)
    assert code == 0, err
    trust("nets:auxiliary")
    network: Any = artifact.load(output).module
    assert network.network.auxiliary.in_features == network.network.head.in_features == 8


def test_answers_are_found_by_name_then_by_place() -> None:
    main, other, features = torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, 7)

    class Output:
        def __init__(self) -> None:
            self.hidden, self.logits = features, main

    for created, count in (
        (main, 1),
        ((main, other), 2),
        ([main, features], 1),
        ({"aux": other, "out": main}, 2),
        ({"hidden": features, "aux": other, "logits": main}, 2),
        ((main, (features, other)), 1),
        (Output(), 1),
    ):
        predictions = find_outputs(created)
        assert predictions[0] is main
        assert len(predictions) == count


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "parametrized", "lazy"])
def test_what_derives_weights_is_folded_and_what_is_written_is_opened(
    name: str, trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    words = ("--code", f"nets:{name}", "-o", small)
    assert bmc("quantize", trained(name), *words)[0] == 0
    trust(f"nets:{name}")
    assert artifact.load(small).module.state_dict().keys()


def test_folded_weights_answer_as_what_they_were_derived_from(nets: Any, images: Path) -> None:
    for name in ("weight_norm", "spectral_norm", "parametrized"):
        model = built(name, images)
        inputs = python.examples(model.module)[0]
        with torch.no_grad():
            before = output_of(model.module.eval(), inputs)
        from bmc.training.parametrizations import fold_parametrizations

        assert fold_parametrizations(model.module)
        torch.testing.assert_close(output_of(model.module, inputs), before)
        assert type(model.module.network.conv) is nn.Conv2d  # type: ignore[union-attr]


def test_a_network_that_prints_leaves_json_alone(
    nets: Any, trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    words = ("--code", "nets:talking", "--json", "-o", tmp_path / "page.html")
    code, out, err = bmc("inspect", trained("talking"), *words)
    assert code == 0, err
    json.loads(out)


@pytest.mark.parametrize(
    "words", [("prune",), ("share",), ("quantize", "--method", "fp16"), ("inspect",)]
)
def test_weights_inside_torchscript_are_refused_by_what_would_change_them(
    words: tuple[str, ...], trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    typed = (*words[1:], "--code", "nets:scripted", "-o", tmp_path / "out")
    exit_code, _, err = bmc(words[0], trained("scripted"), *typed)
    assert exit_code == 2
    assert "is a TorchScript module" in err
    assert "build it without TorchScript" in err


def test_a_torchscript_activation_hinders_no_step(
    trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    code = ("--code", "nets:scripted_activation")
    folder, pruned, small = trained("scripted_activation"), tmp_path / "pruned", tmp_path / "small"
    for line in (
        ("prune", folder, *code, "--ratio", "0.5", "--epochs", "1", "-o", pruned),
        ("inspect", pruned, *code, "--rows", "16", "-o", tmp_path / "page.html"),
        ("quantize", pruned, *code, "--method", "fp16", "-o", tmp_path / "half"),
        ("quantize", pruned, *code, "--method", "static", "-o", small),
        ("export", small, *code, "--target", "onnx", "--allow-slower", "-o", tmp_path / "bundle"),
    ):
        exit_code, _, err = bmc(*line)
        assert exit_code == 0, (line, err)


def test_a_layer_whose_weight_others_read_stays_in_float_and_is_exported(
    trained: Callable[[str], Path], bmc: Bmc, tmp_path: Path
) -> None:
    small, code = tmp_path / "small", ("--code", "nets:read_elsewhere")
    folder = trained("read_elsewhere")
    exit_code, _, err = bmc("quantize", folder, "--method", "dynamic", *code, "-o", small)
    assert exit_code == 0, err
    assert "network.widen stays in float: network reads its weight directly" in err
    typed = ("--target", "onnx", "--allow-slower", "-o", tmp_path / "bundle")
    exit_code, _, err = bmc("export", small, *typed, *code)
    assert exit_code == 0, err
