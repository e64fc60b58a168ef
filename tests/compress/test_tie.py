"""Tying: one parameter for several, trained as one, stored once in every file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import openvino
import pytest
import torch
from safetensors import safe_open

from bmc.compress.share.lowrank import LowRank
from bmc.compress.share.tie import Tie
from bmc.data import Dataset
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.export.onnx_graph import write_onnx
from bmc.model import AppliedStep, Model, Work
from bmc.models import recurrent, transformer
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests._records import refusal_of
from tests.models import _bundles

WIDEN = "layers.0.widen.weight", "layers.1.widen.weight"
QUERY = "layers.0.attention.query.weight", "layers.1.attention.query.weight"


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(reviews, (), settings, tmp_path, tmp_path, never, run="")


@pytest.fixture
def model(reviews: Dataset) -> Model:
    settings = transformer.Settings(hidden=16, heads=2, feed_forward=24, vocabulary=300)
    torch.manual_seed(0)
    return transformer.baseline("transformer", reviews, settings)


@pytest.fixture
def speaker(model: Model) -> Model:
    """Return a model with as many classes as words: it has an output embedding."""
    rows = model.spec["vocabulary"]
    model.spec["outputs"] = rows
    model.labels = tuple(f"word {number}" for number in range(rows))
    model.module = transformer.build(model.spec)
    return model


def group(names: tuple[str, ...]) -> tuple[str, ...]:
    return (":".join(names),)


@pytest.mark.parametrize("start", ["mean", "first"])
def test_a_group_is_one_parameter_that_starts_as_asked(
    start: str, model: Model, work: Work
) -> None:
    first, second = (model.module.get_parameter(name) for name in WIDEN)
    expected = (first + second).detach() / 2 if start == "mean" else first.detach().clone()
    record = Tie(group(WIDEN), start).apply(model, work)
    assert record == {"tied": {WIDEN[1]: WIDEN[0]}}
    item, other = (model.module.get_parameter(name) for name in WIDEN)
    assert item is other
    assert torch.equal(item, expected)


def test_tied_parameters_are_trained_as_one_and_stay_one_through_a_file(
    model: Model, work: Work, tmp_path: Path
) -> None:
    record = Tie((*group(WIDEN), *group(QUERY))).apply(model, work)
    before = model.module.get_parameter(WIDEN[0]).detach().clone()
    work.fit(model)
    item, other = (model.module.get_parameter(name) for name in WIDEN)
    assert item is other
    assert not torch.equal(item, before)
    model.steps = [AppliedStep("share/tie", {}, record, 0, 0.0)]
    loaded = _bundles.saved(model, tmp_path / "model")
    for first, second in (WIDEN, QUERY):
        assert loaded.module.get_parameter(first) is loaded.module.get_parameter(second)
    with safe_open(tmp_path / "model" / "model.safetensors", framework="pt") as file:
        stored = set(file.keys())
    assert len(stored & set(WIDEN)) == len(stored & set(QUERY)) == 1


def test_input_and_output_embeddings_become_one(speaker: Model, work: Work) -> None:
    record = Tie().apply(speaker, work)
    assert record == {"tied": {"classifier.weight": "embedding.words.weight"}}
    words = speaker.module.get_parameter("embedding.words.weight")
    assert speaker.module.get_parameter("classifier.weight") is words
    inputs = transformer.examples(speaker.module)[0]
    assert speaker.module(**inputs).shape == (2, speaker.spec["vocabulary"])


def initializers(path: Path) -> list[list[int]]:
    return [list(value.dims) for value in onnx.load(path).graph.initializer]


def constants(path: Path) -> list[list[int]]:
    return [
        list(node.get_output_shape(0))
        for node in openvino.Core().read_model(path).get_ops()
        if node.get_type_name() == "Constant"
    ]


def written(model: Model, folder: Path) -> tuple[Path, Path]:
    """Write a model as ONNX and as OpenVINO IR."""
    folder.mkdir()
    write_onnx(model, folder / "model.onnx", opset=20)
    read = openvino.Core().read_model(folder / "model.onnx")
    openvino.save_model(read, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.onnx", folder / "model.xml"


def test_a_tied_weight_is_stored_once_in_the_onnx_file_and_in_the_openvino_ir(
    speaker: Model, work: Work, tmp_path: Path
) -> None:
    rows = speaker.spec["vocabulary"]
    loose = written(speaker, tmp_path / "loose")
    Tie(("embeddings", *group(WIDEN), *group(QUERY))).apply(speaker, work)
    tied = written(speaker, tmp_path / "tied")
    for read, before, after in zip((initializers, constants), loose, tied, strict=True):
        assert read(before).count([rows, 16]) == read(before).count([24, 16]) == 2
        assert read(after).count([rows, 16]) == read(after).count([24, 16]) == 1
        # Query, key and value of each layer were one matrix; a tied query stands alone.
        assert read(before).count([48, 16]) == 2
        assert read(after).count([48, 16]) == 0
        assert read(after).count([16, 16]) == read(before).count([16, 16]) + 1 + 4
    less = 4 * (rows * 16 + 24 * 16 + 16 * 16)
    sizes = [[item.with_suffix(".bin").stat().st_size for item in (loose[1], tied[1])]]
    sizes.append([one.stat().st_size for one in (loose[0], tied[0])])
    for before_size, after_size in sizes:
        assert before_size - after_size == pytest.approx(less, abs=2000)


def test_recurrent_weights_are_tied_and_stored_once(
    work: Work, reviews: Dataset, tmp_path: Path
) -> None:
    settings = recurrent.Settings(hidden=8, embedding=12, vocabulary=300)
    model = recurrent.baseline("lstm", reviews, settings)
    inputs = recurrent.examples(model.module)[0]
    before = model.module(**inputs)
    record = Tie(("layers.0.ahead.weight_ih_l0:layers.0.back.weight_ih_l0",)).apply(model, work)
    after = model.module(**inputs)
    assert not torch.allclose(after, before), "the layer computes with the tied weight"
    model.steps = [AppliedStep("share/tie", {}, record, 0, 0.0)]
    assert torch.equal(_bundles.saved(model, tmp_path / "model").module(**inputs), after)
    onnx_file, xml = written(model, tmp_path / "files")
    assert initializers(onnx_file).count([1, 32, 12]) == constants(xml).count([1, 32, 12]) == 1


def test_parameters_of_an_earlier_tie_are_tied_too(model: Model, work: Work) -> None:
    names = [f"layers.{layer}.attention.{part}.weight" for layer in (0, 1) for part in ("key",)]
    Tie(group(QUERY)).apply(model, work)
    Tie((f"{names[0]}:{QUERY[1]}",)).apply(model, work)
    key = model.module.get_parameter(names[0])
    assert all(model.module.get_parameter(name) is key for name in QUERY)


def test_parameters_that_are_tied_already_change_nothing(model: Model, work: Work) -> None:
    Tie(group(WIDEN)).apply(model, work)
    before = model.module.get_parameter(WIDEN[0]).detach().clone()
    assert Tie(group(WIDEN)).apply(model, work) == {}
    assert torch.equal(model.module.get_parameter(WIDEN[0]), before)


def test_tied_layers_are_split_together_and_the_factors_are_tied(
    model: Model, work: Work, tmp_path: Path
) -> None:
    steps: dict[str, Any] = {
        "share/tie": Tie(group(WIDEN)),
        "share/lowrank": LowRank(0.5, layers=("*.0.widen",)),
    }
    for name, step in steps.items():
        model.steps.append(AppliedStep(name, {}, step.apply(model, work), 0, 0.0))
    loaded = _bundles.saved(model, tmp_path / "model")
    for half in ("0", "1"):
        item, other = (f"layers.{layer}.widen.{half}.weight" for layer in (0, 1))
        assert loaded.module.get_parameter(item) is loaded.module.get_parameter(other)
    first, second = (f"layers.{layer}.widen.1.bias" for layer in (0, 1))
    assert loaded.module.get_parameter(first) is not loaded.module.get_parameter(second)


def test_an_unknown_parameter_is_refused_with_the_near_name(model: Model, work: Work) -> None:
    with pytest.raises(UnknownError, match=r"Did you mean 'layers\.0\.widen\.weight'"):
        Tie(("layers.0.widen.wieght:layers.1.widen.weight",)).apply(model, work)


def test_other_shapes_are_refused_before_anything_is_tied(model: Model, work: Work) -> None:
    with pytest.raises(SettingError, match=r"shape \(24, 16\).*shape \(16, 16\)"):
        Tie((f"{QUERY[0]}:{WIDEN[0]}",)).apply(model, work)
    assert model.module.get_parameter(QUERY[0]) is not model.module.get_parameter(QUERY[1])


def test_a_model_without_an_output_embedding_is_refused(
    make_lively: Callable[..., Model], work: Work
) -> None:
    with pytest.raises(UsageError, match=r"no output embedding.*classifier.*30522 x 32"):
        Tie().apply(make_lively(), work)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": ()}, "parameters is empty"),
        ({"parameters": ("a.weight",)}, "'a.weight' alone"),
        ({"parameters": ("a:b", "c:b")}, "'b' is named twice"),
        ({"parameters": ("a:a",)}, "'a' is named twice"),
        ({"start": "median"}, "start is 'median'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Tie(**settings)


@pytest.mark.parametrize(
    "tied",
    [
        {WIDEN[0]: "layers.0.widen.nothing"},
        {"layers.0.widen.forward": WIDEN[1]},
        {"__class__": WIDEN[1]},
        {WIDEN[0]: QUERY[0]},
        {WIDEN[0]: 3},
        [WIDEN[0]],
        "all",
    ],
)
def test_a_record_that_does_not_fit_is_refused(tied: Any, model: Model, tmp_path: Path) -> None:
    message = refusal_of(model, "share/tie", {"tied": tied}, tmp_path)
    assert (
        "step share/tie does not fit" in message
        or "only parameters of equal shape can be tied" in message
    )
