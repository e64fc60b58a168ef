"""The GAN: trained, saved, loaded, exported, asked for pictures, and shown in the report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bmc import artifact, cli
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.compress.share.lowrank import LowRank
from bmc.data import Table, split
from bmc.errors import ArtifactError, SettingError
from bmc.inputs.latent import LatentEncoder
from bmc.model import Model
from bmc.models import gan
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.training.settings import TrainingSettings
from tests.models import _bundles

Run = Callable[..., tuple[int, str, str]]
SPEC = {"latent": 10, "hidden": 8, "channels": 3, "height": 5, "width": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model directory, trained on digits for one epoch from the command line."""
    output = tmp_path_factory.mktemp("model") / "little-gan"
    options = ["--data", "digits", "--set", "width=8", "--set", "latent=10", "--epochs", "1"]
    assert cli.run(["train", "gan", *options, "--device", "cpu", "-o", str(output), "--quiet"]) == 0
    return output


@pytest.fixture(scope="module")
def bundle_of(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that exports that model to a target, once."""
    with _bundles.exporting(folder, datasets.load("digits")) as export:
        yield lambda target: export(target).path


def lively() -> Model:
    """Build a generator of color images whose batch norms have seen much, and say so."""
    torch.manual_seed(0)
    module = gan.build(SPEC)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d):
            for value in (layer.weight.data, layer.bias.data, layer.running_mean):
                if value is not None:
                    value.normal_()
            if layer.running_var is not None:
                layer.running_var.uniform_(0.2, 3)
    return Model(module, "gan", SPEC, (), LatentEncoder(10), task="generation")


def test_a_trained_generator_is_saved_and_loads_as_it_was(folder: Path) -> None:
    described = artifact.describe(folder)
    assert described["task"] == "generation"
    assert described["scores"]["validation_frechet_distance"] > 0
    assert described["scores"]["best_epoch"] == 1
    model = artifact.load(folder)
    assert [info.shape for info in model.outputs()] == [("batch", 1, 8, 8)]
    names = {name.partition(".")[0] for name in model.module.state_dict()}
    assert names == {"layers"}, "the discriminator is no part of the model"
    with torch.no_grad():
        created = model.module(**gan.examples(model.module)[1])
    assert created.shape == (3, 1, 8, 8)
    assert created.abs().max() <= 1
    assert created.std(dim=0).max() > 0, "every noise gives the same image"


@pytest.mark.parametrize("target", ["pytorch", "onnx", "openvino", "tensorrt"])
def test_a_bundle_makes_the_same_images_as_pytorch(
    folder: Path, bundle_of: Callable[[str], Path], target: str
) -> None:
    bundle = bundles.read(bundle_of(target))
    assert bundle.manifest.task == "generation"
    assert bundle.manifest.labels == ()
    assert bundle.manifest.parity["max_error"] < 1e-4
    assert bundle.manifest.parity["max_error_other_shapes"] < 1e-4
    if bundle.manifest.scores:  # it runs here
        model = artifact.load(folder)
        with Pipeline(bundle, RuntimeOptions()) as pipeline:
            images = pipeline.outputs(range(7))
        with torch.no_grad():
            noise = torch.from_numpy(model.encoder.encode(range(7)))
            assert np.allclose(images, model.module(noise).numpy(), atol=1e-4)


def test_predict_draws_a_picture_of_each_seed(
    bmc: Run, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = bundle_of("onnx")
    code, out, _ = bmc("predict", bundle, 0, 1, 2, "--images", tmp_path / "first", "--json")
    assert code == 0
    paths = [Path(path) for path in json.loads(out)["answers"]]
    assert [path.name for path in paths] == ["0.png", "1.png", "2.png"]
    pictures = [np.asarray(Image.open(path)) for path in paths]
    assert {picture.shape for picture in pictures} == {(8, 8)}
    assert not np.array_equal(pictures[0], pictures[1])
    assert bmc("predict", bundle, 1, "--images", tmp_path / "second")[0] == 0
    again = np.asarray(Image.open(tmp_path / "second" / "1.png"))
    assert np.abs(again.astype(int) - pictures[1]).max() <= 1, "a seed gives the same picture"


def test_predict_wants_a_folder_for_pictures_and_whole_numbers_for_seeds(
    bmc: Run, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    code, _, err = bmc("predict", bundle_of("onnx"), 0)
    assert (code, "--images" in err) == (2, True)
    code, _, err = bmc("predict", bundle_of("onnx"), "a shoe", "--images", tmp_path)
    assert (code, "whole number" in err) == (2, True)
    (tmp_path / "file").write_text("words")
    for folder in ("file", "file/below"):
        code, _, err = bmc("predict", bundle_of("onnx"), 0, "--images", tmp_path / folder)
        assert (code, "there is a file in its place" in err) == (2, True), err


def test_check_and_report_take_a_generator_that_has_no_accuracy(
    bmc: Run, bundle_of: Callable[[str], Path], workspace: Path, tmp_path: Path
) -> None:
    workspace.mkdir()
    (workspace / "little-gan-onnx").symlink_to(bundle_of("onnx"))
    code, _, err = bmc("check", workspace / "little-gan-onnx")
    assert code == 0, err
    code, _, err = bmc("report", "--no-bench", "-o", tmp_path / "report")
    assert code == 0, err
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "little-gan-onnx" in page
    assert "512 rows" not in page, "seeds of noise are no held-out rows"


def test_the_inference_form_has_no_batch_norm_and_makes_the_same_images() -> None:
    model = lively()
    form = gan.inference_form(model)
    kinds = {type(layer) for layer in form.modules()}
    assert nn.BatchNorm1d not in kinds
    noise = torch.randn(9, 10)
    with torch.no_grad():
        assert torch.allclose(form(noise), model.module(noise), atol=1e-5)
        assert model.module(noise).std() > 0.1


def test_the_inference_form_leaves_what_a_step_has_changed() -> None:
    """A low-rank pair keeps its batch norm, and so does a layer whose weights another one has."""
    noise = torch.randn(9, 10)
    split_up, shared = lively(), lively()
    LowRank.rebuild(split_up, {"layers.3": 2})
    first = shared.module.get_submodule("layers.0")
    shared.module.add_module("other", first)
    for model in (split_up, shared):
        form = gan.inference_form(model)
        norms = [layer for layer in form.modules() if isinstance(layer, nn.BatchNorm1d)]
        assert len(norms) == 1
        with torch.no_grad():
            assert torch.allclose(form(noise), model.module(noise), atol=1e-5)


def test_color_images_of_any_small_size_are_learned(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 7, 3)).astype(np.uint8)
    data = split(Table(images, ["a", "b"] * 30, kind="image"), "colors")
    model = gan.baseline("gan", data, gan.Settings(latent=4, width=8))
    settings = TrainingSettings(epochs=1, batch_size=16, optimizer="adam", device="cpu")
    fitted = gan.train(model, data, settings, tmp_path)
    assert math.isfinite(fitted.score)
    with torch.no_grad():
        assert model.module(torch.randn(2, 4)).shape == (2, 3, 5, 7)


def test_images_too_large_for_linear_layers_are_refused_with_a_way_out() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 80, 80, 3)).astype(np.uint8)
    data = split(Table(images, ["a", "b"] * 15, kind="image"), "large")
    with pytest.raises(SettingError, match="image_size=32"):
        gan.baseline("gan", data, gan.Settings())
    smaller = gan.baseline("gan", data, gan.Settings(image_size=16, width=8))
    assert (smaller.spec["height"], smaller.spec["width"]) == (16, 16)


@pytest.mark.parametrize("change", [{"hidden": 0}, {"latent": "10"}, {"height": None}])
def test_a_damaged_spec_is_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match=next(iter(change))):
        gan.build({**SPEC, **change})


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="width is 0"):
        gan.Settings(width=0)


def test_text_is_refused_and_so_are_folds(bmc: Run, reviews_csv: Path) -> None:
    code, _, err = bmc("train", "gan", "--data", reviews_csv)
    assert (code, "gan takes image" in err) == (2, True)
    code, _, err = bmc("train", "gan", "--data", "digits", "--folds", 3)
    assert (code, "held-out score" in err) == (2, True)
