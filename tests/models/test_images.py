"""Image families: trained, saved, loaded and exported on a slice of the digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy

from bmc import artifact
from bmc import data as datasets
from bmc.bundle import Bundle
from bmc.data import Dataset, Examples, Table
from bmc.errors import ArtifactError, SettingError
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.inputs.image import ImageEncoder
from bmc.model import Model
from bmc.models import cnn, image_networks, mlp, mobilenet_v2, resnet, vgg
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, start_in_units_of
from bmc.workflows import baselines
from tests.models import _bundles

SLIM = {
    "mlp": {"width": "32", "depth": "2"},
    "cnn": {"width": "8", "hidden": "16"},
    "resnet18": {"width": "8"},
    "resnet34": {"width": "4"},
    "resnet50": {"width": "4"},
    "vgg11": {"width": "8", "hidden": "32", "dropout": "0.1"},
    "vgg16": {"width": "8", "hidden": "32", "dropout": "0.1"},
    "mobilenet-v2": {"pretrained": "false", "multiplier": "0.25"},
}
ANY_SIZE = {"resnet18", "resnet34", "resnet50", "mobilenet-v2"}

# Parameters with 1,000 classes at 224x224, as torchvision's documentation lists them.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "vgg11": 132_868_840,
    "vgg16": 138_365_992,
    "mobilenet-v2": 3_504_872,
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Return 192 digits to learn from, and 64 to score."""
    return cut(datasets.load("digits"), 192)


@pytest.fixture
def make(digits: Dataset) -> Callable[[str], Model]:
    """Return a function that builds a slim, untrained baseline for the digits."""
    return lambda name: build(name, digits)


def cut(data: Dataset, rows: int) -> Dataset:
    def first(part: Examples, count: int) -> Examples:
        return Examples(part.rows[:count], part.labels[:count])

    return replace(
        data,
        train=first(data.train, rows),
        validation=first(data.validation, 64),
        test=first(data.test, 64),
    )


def build(name: str, data: Dataset, options: dict[str, str] | None = None) -> Model:
    torch.manual_seed(0)
    chosen = baselines.choose(name, SLIM[name] if options is None else options)
    return chosen.network.baseline(name, data, chosen.options)


def lively(model: Model) -> Model:
    """Give batch norms weights and averages of their own, as if the model were trained."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in model.module.modules():
            if isinstance(part, nn.BatchNorm2d):
                for tensor, least in ((part.weight, 0.7), (part.running_var, 0.7)):
                    assert tensor is not None
                    tensor.copy_(least + 0.5 * torch.rand(tensor.shape, generator=generator))
                part.bias.copy_(0.2 * torch.randn(part.bias.shape, generator=generator))
    return model


def pixels_of(model: Model, data: Dataset) -> torch.Tensor:
    encoder = model.encoder
    rows = encoder.encode(data.train.rows)
    return torch.from_numpy(encoder.batch(rows, range(len(rows)))["pixels"])


def exported(model: Model, data: Dataset, target: str, folder: Path) -> Bundle:
    model.data = {"fingerprint": data.fingerprint}
    saved = artifact.save(model, folder / "model")
    with source_of(saved, data, ExportOptions(max_batch=4)) as source:
        return flow.export(source, target, folder / target, force=False)


@pytest.mark.parametrize("name", SLIM)
def test_its_recipe_lowers_the_loss_within_a_few_dozen_steps(
    name: str, digits: Dataset, tmp_path: Path
) -> None:
    """In bf16 where the processor has it: elsewhere it is emulated, and nothing trains in it."""
    entry: dict[str, str] = {} if name in ("cnn", "mobilenet-v2") else SLIM[name]
    model = build(name, digits, entry)
    pixels, labels = pixels_of(model, digits), torch.tensor(digits.train.labels)

    def loss() -> float:
        with torch.no_grad():
            return cross_entropy(model.module(pixels), labels).item()

    before = loss()
    recipe = baselines.choose(name, {}).recipe
    sgd = recipe.optimizer == "sgd"
    epochs = 8 if sgd else 16  # the rates of Adam are for many more steps
    settings = replace(
        recipe, epochs=epochs, batch_size=32, precision="auto", device="cpu", augment=()
    )
    fit_model(model, digits, settings, tmp_path)
    assert loss() < 0.8 * before


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 4)])
@pytest.mark.parametrize("name", ["resnet34", "resnet50", "mobilenet-v2"])
def test_maps_of_one_pixel_get_the_gradients_in_bf16_that_they_get_in_fp32(
    name: str, shape: tuple[int, int]
) -> None:
    spec = {"architecture": name, "channels": 1, "height": shape[0], "width": shape[1]}
    spec |= {"outputs": 10, "filters": 8, "multiplier": 0.25, "dropout": 0.0}
    module = baselines.choose(name, {}).network.build(spec)
    pixels = torch.randn(16, 1, *shape, generator=torch.Generator().manual_seed(0))
    strided = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    results = []
    for bf16 in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = module(pixels)
        (logits.float() ** 2).sum().backward()
        gradients = [part.weight.grad for part in strided if part.weight.grad is not None]
        results.append([gradient.norm().item() for gradient in gradients])
    assert len(results[0]) == len(strided)
    assert results[1] == pytest.approx(results[0], rel=0.2, abs=1e-3)


@pytest.mark.parametrize("name", SLIM)
def test_a_saved_model_answers_bit_for_bit_when_it_is_loaded(
    name: str, make: Callable[[str], Model], digits: Dataset, tmp_path: Path
) -> None:
    model = lively(make(name))
    loaded = artifact.load(artifact.save(model, tmp_path / "saved"))
    pixels = pixels_of(model, digits)[:8]
    with torch.no_grad():
        assert torch.equal(loaded.module(pixels), model.module(pixels))
    assert loaded.encoder.to_json() == model.encoder.to_json()


@pytest.mark.parametrize("name", SLIM)
def test_the_onnx_file_answers_as_pytorch_does(
    name: str, make: Callable[[str], Model], digits: Dataset, tmp_path: Path
) -> None:
    bundle = exported(lively(make(name)), digits, "onnx", tmp_path)
    assert bundle.manifest.parity["max_error"] < 1e-4
    assert bundle.manifest.parity["max_error_other_shapes"] < 1e-4
    size = ("height", "width") if name in ANY_SIZE else (8, 8)
    assert bundle.manifest.inputs[0].shape == ("batch", 1, *size)


@pytest.fixture(scope="module")
def for_any_size(
    digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Bundle]]:
    """Return a function that exports a slim resnet18 to a target."""
    model = lively(build("resnet18", digits))
    model.data = {"fingerprint": digits.fingerprint}
    folder = artifact.save(model, tmp_path_factory.mktemp("any-size") / "model")
    with _bundles.exporting(folder, digits) as export:
        yield export


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "pytorch"])
def test_a_network_for_any_size_reaches_every_target(
    target: str, for_any_size: Callable[[str], Bundle]
) -> None:
    bundle = for_any_size(target)
    assert bundle.manifest.parity["max_error_other_shapes"] < 1e-4
    assert bundle.model_path.exists()


@pytest.mark.parametrize("name", PUBLISHED)
def test_at_the_published_size_the_parameters_are_as_many_as_published(name: str) -> None:
    network = baselines.choose(name, {}).network
    spec = {"architecture": name, "channels": 3, "height": 224, "width": 224, "outputs": 1000}
    spec |= {"filters": 64, "hidden": 4096, "dropout": 0.5, "multiplier": 1.0}
    with torch.device("meta"):
        module = network.build(spec)
    assert sum(value.numel() for value in module.parameters()) == PUBLISHED[name]


def test_the_perceptron_for_28x28_is_784_128_10() -> None:
    spec = {"channels": 1, "height": 28, "width": 28, "outputs": 10}
    module = mlp.build({**spec, "hidden": 128, "depth": 1, "dropout": 0.0})
    shapes = [tuple(value.shape) for value in module.parameters() if value.ndim == 2]
    assert shapes == [(128, 784), (10, 128)]


@pytest.mark.parametrize(("side", "map_size"), [(28, 28), (64, 64), (65, 17), (224, 56)])
def test_small_images_keep_their_size_in_resnet18_and_large_ones_are_quartered(
    side: int, map_size: int
) -> None:
    spec = {"architecture": "resnet18", "channels": 1, "height": side, "width": side}
    module: Any = resnet.build({**spec, "outputs": 10, "filters": 4})
    features = module.maxpool(module.conv1(torch.zeros(1, 1, side, side)))
    assert features.shape[2:] == (map_size, map_size)


def test_images_of_any_shape_fit_a_vgg() -> None:
    spec = {"architecture": "vgg11", "channels": 3, "outputs": 5, "filters": 4, "hidden": 8}
    for height, width in ((1, 1), (28, 33), (32, 100), (300, 40)):
        module = vgg.build({**spec, "height": height, "width": width, "dropout": 0.5})
        assert module(torch.zeros(2, 3, height, width)).shape == (2, 5)


def test_imagenet_weights_see_a_gray_image_as_that_image_in_color(digits: Dataset) -> None:
    gray = mobilenet_v2.baseline("mobilenet-v2", digits, mobilenet_v2.Settings()).module
    spec = {"channels": 3, "height": 8, "width": 8, "outputs": 10}
    color = mobilenet_v2.build({**spec, "multiplier": 1.0, "dropout": 0.2})
    fresh = color.get_parameter("features.0.0.weight").detach().clone()
    mobilenet_v2.load_imagenet(color)
    assert not torch.equal(color.get_parameter("features.0.0.weight"), fresh)
    pixels = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    features: Any = gray.features
    others: Any = color.features
    with torch.no_grad():
        expected = others(pixels.expand(-1, 3, -1, -1))
        assert expected.std() > 0.01
        torch.testing.assert_close(features(pixels), expected, rtol=1e-3, atol=1e-4)


def test_imagenet_weights_of_another_width_are_refused() -> None:
    with pytest.raises(SettingError, match="pretrained=false"):
        mobilenet_v2.Settings(multiplier=0.5)


def test_the_training_images_have_mean_0_and_deviation_1(digits: Dataset) -> None:
    encoder = image_networks.encoder_for(digits)
    pixels = encoder.batch(encoder.encode(digits.train.rows), range(len(digits.train)))["pixels"]
    assert abs(pixels.mean()) < 1e-3
    assert abs(pixels.std() - 1) < 1e-3


@pytest.fixture
def photographs(tmp_path: Path) -> Dataset:
    """Return files of three sizes, some gray and some colored."""
    generator = np.random.default_rng(0)
    paths = []
    for number in range(60):
        height, width = ((30, 20), (40, 24), (40, 24), (500, 400))[number % 4]
        shape = (height, width, 3) if number % 2 else (height, width)
        image = Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))
        paths.append(tmp_path / f"{number}.png")
        image.save(paths[-1])
    table = Table(paths, [str(number % 2) for number in range(60)], kind="image")
    return datasets.split(table, "photographs")


@pytest.mark.parametrize(("image_size", "size"), [(0, (40, 24)), (32, (32, 32))])
def test_files_of_mixed_sizes_are_brought_to_the_most_common_or_to_the_size_asked_for(
    photographs: Dataset, image_size: int, size: tuple[int, int]
) -> None:
    encoder = image_networks.encoder_for(photographs, image_size)
    assert (encoder.settings.height, encoder.settings.width) == size
    assert encoder.settings.channels == 3
    rows = encoder.encode(photographs.train.rows)
    pixels = encoder.batch(rows, range(len(rows)))["pixels"]
    assert pixels.shape[1:] == (3, *size)
    assert abs(pixels.mean()) < 0.05


def test_an_array_is_resized_where_another_size_is_asked_for(digits: Dataset) -> None:
    model = cnn.baseline("cnn", digits, cnn.Settings(image_size=12, width=4, hidden=8))
    assert model.spec["height"] == model.spec["width"] == 12
    assert pixels_of(model, digits).shape == (192, 1, 12, 12)


def test_a_last_batch_of_one_row_is_trained_with_the_batch_before_it(
    digits: Dataset, tmp_path: Path
) -> None:
    model = build("resnet18", digits)  # at 8x8 its last batch norm sees one value a row
    settings = TrainingSettings(epochs=1, batch_size=16, precision="fp32", device="cpu")
    fit_model(model, cut(digits, 33), settings, tmp_path)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18", "vgg11", "mobilenet-v2"])
def test_a_regression_has_one_output_in_the_units_of_its_labels(name: str, tmp_path: Path) -> None:
    data = cut(datasets.load("digits", task="regression"), 64)
    shifted = replace(data.train, labels=[1000.0 + label for label in data.train.labels])
    data = replace(data, train=shifted)
    model = build(name, data)
    start_in_units_of(model, data.train.labels)
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    fit_model(model, data, settings, tmp_path)
    with torch.no_grad():
        values = model.module(pixels_of(model, data))
    assert values.shape == (64, 1)
    assert 900 < values.median() < 1100


NONSENSE: list[tuple[Any, dict[str, Any]]] = [
    (mlp, {"depth": -1}),
    (mlp, {"hidden": True}),
    (mlp, {"dropout": 1.0}),
    (cnn, {"height": 2}),
    (cnn, {"outputs": None}),
    (cnn, {"channels": 10**9}),
    (resnet, {"architecture": "resnet19"}),
    (resnet, {"filters": -1}),
    (vgg, {"architecture": ["vgg11"]}),
    (vgg, {"hidden": "many"}),
    (mobilenet_v2, {"multiplier": float("nan")}),
    (mobilenet_v2, {"width": 10**6}),
]


@pytest.mark.parametrize(("family", "wrong"), NONSENSE)
def test_a_spec_that_makes_no_sense_is_refused(family: Any, wrong: dict[str, Any]) -> None:
    name = {resnet: "resnet18", vgg: "vgg11"}.get(family, "")
    spec = {"architecture": name, "channels": 1, "height": 8, "width": 8, "outputs": 10}
    spec |= {"filters": 4, "hidden": 8, "depth": 1, "dropout": 0.0, "multiplier": 0.25}
    family.build(spec)
    with pytest.raises(ArtifactError):
        family.build({**spec, **wrong})


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("mlp", "width=0"),
        ("mlp", "depth=1000"),
        ("cnn", "dropout=1"),
        ("resnet18", "width=100000"),
        ("vgg11", "hidden=-1"),
        ("mobilenet-v2", "multiplier=9"),
        ("cnn", "image-size=2"),
        ("cnn", "image-size=-2"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_training(
    name: str, setting: str, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = bmc("train", name, "--data", "digits", "--set", setting)
    assert code == 2
    refusals = [line for line in err.splitlines() if not line.startswith("data digits: ")]
    assert len(refusals) == 1
    assert "bug" not in err


def test_the_command_line_trains_and_exports_a_baseline(
    bmc: Callable[..., tuple[int, str, str]], workspace: Path
) -> None:
    options = ("--set", "width=16", "--epochs", 2, "--device", "cpu")
    assert bmc("train", "mlp", "--data", "digits", *options)[0] == 0
    code, _, err = bmc("export", "mlp-digits", "--target", "onnx")
    assert code == 0, err
    encoder = artifact.load(workspace / "mlp-digits").encoder
    assert isinstance(encoder, ImageEncoder)
    assert encoder.settings.height == 8
