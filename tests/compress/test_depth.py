"""Depth pruning: which layers go, what stays whole around them, what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from bmc import artifact
from bmc import data as datasets
from bmc.compress.prune.depth import Depth, removals
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.share.lowrank import LowRank
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UnknownError, UsageError
from bmc.export.onnx_graph import write_onnx
from bmc.inference.form import inference_form
from bmc.model import AppliedStep, Model, Work, output_of
from bmc.models import bert, resnet, transformer
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

LAYERS = 4
QUICK = TrainingSettings(epochs=1, precision="fp32", device="cpu")


def never(reference: str) -> Model:
    raise AssertionError(f"{reference} was loaded")


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    return work_for(reviews, (), QUICK, tmp_path, tmp_path, never, run="")


@pytest.fixture
def image_work(tmp_path: Path) -> Work:
    return work_for(datasets.load("digits"), (), QUICK, tmp_path, tmp_path, never, run="")


@pytest.fixture
def texts(reviews: Dataset) -> Model:
    """Return a small transformer whose layers all matter."""
    torch.manual_seed(3)
    settings = transformer.Settings(layers=LAYERS, hidden=16, heads=2, feed_forward=16)
    model = transformer.baseline("transformer", reviews, settings)
    with torch.no_grad():
        for value in model.module.get_submodule("layers").parameters():
            value.add_(0.3 * torch.randn(value.shape))
        model.module.get_parameter("classifier.weight").mul_(20)
    return model


@pytest.fixture
def images() -> Model:
    """Return a narrow ResNet-18 for digits whose blocks all matter."""
    torch.manual_seed(3)
    settings = resnet.Settings(width=8)
    model = resnet.baseline("resnet18", datasets.load("digits"), settings)
    with torch.no_grad():
        for name, value in model.module.named_parameters():
            if name.endswith("bn2.weight"):  # zero at first: a fresh block adds nothing
                value.fill_(1.0)
    return model


def deep_bert(make_lively: Callable[..., Model]) -> Model:
    """Return the lively BERT with two more layers."""
    changed_model = make_lively()
    spec = {**changed_model.spec, "num_hidden_layers": LAYERS}
    torch.manual_seed(1)
    deep = replace(changed_model, spec=spec, module=bert.build(spec))
    with torch.no_grad():
        for value in deep.module.get_submodule("bert").parameters():
            value.add_(0.2 * torch.randn(value.shape))
    return deep


def answered_by(model: Model, data: Dataset) -> Dataset:
    """Return the data with what the model answers as the validation labels: it is always right."""
    rows = Rows(data.validation.rows, data.validation.labels, model.encoder)
    labels = outputs_of(model.module, rows).argmax(axis=1)
    return replace(data, validation=replace(data.validation, labels=labels))


def copied(model: Model) -> Model:
    return replace(model, module=copy.deepcopy(model.module), steps=list(model.steps))


def rebuilt(model: Model, *steps: tuple[Any, Any]) -> Model:
    """Build a model anew, and replay records that went through JSON."""
    family = families.network(model.family)
    changed_model = replace(model, module=family.build(model.spec))
    for technique, record in steps:
        technique.rebuild(changed_model, json.loads(json.dumps(record)))
    return changed_model


def logits_of(model: Model) -> list[Tensor]:
    family = families.network(model.family)
    with torch.inference_mode():
        examples = family.examples(model.module)
        return [output_of(model.module.eval(), inputs) for inputs in examples]


def test_a_layer_without_effect_is_removed_first_and_no_output_changes(
    texts: Model, reviews: Dataset, tmp_path: Path
) -> None:
    with torch.no_grad():
        for linear in ("attention.output", "narrow"):
            for value in texts.module.get_submodule(f"layers.2.{linear}").parameters():
                value.zero_()
    before = logits_of(texts)
    work = work_for(answered_by(texts, reviews), (), QUICK, tmp_path, tmp_path, never, run="")
    assert Depth(ratio=0.25).apply(texts, work) == {"layers": [0, 1, 3]}
    assert all(map(torch.equal, logits_of(texts), before))


def test_each_removed_layer_is_the_least_important_of_the_layers_left(
    texts: Model, work: Work
) -> None:
    def score_without(*places: int) -> float:
        trial = copied(texts)
        Depth(layers=tuple(f"layers.{place}" for place in places)).apply(trial, work)
        return work.score(trial)

    order = islice(removals(copied(texts), work, "score"), 2)
    first, second = (int(name.removeprefix("layers.")) for name in order)
    alone = [score_without(index) for index in range(LAYERS)]
    assert alone[first] == max(alone)
    pairs = {other: score_without(first, other) for other in range(LAYERS) if other != first}
    assert pairs[second] == max(pairs.values())
    assert len({*alone, *pairs.values()}) > 1, "scores that are all equal prove nothing"
    left = [position for position in range(LAYERS) if position not in (first, second)]
    assert Depth(ratio=0.5).apply(texts, work) == {"layers": left}


def test_of_equal_scores_the_layer_is_removed_that_changes_the_outputs_least(
    images: Model, image_work: Work
) -> None:
    with torch.no_grad():  # one answer whatever the image: all scores are equal
        images.module.get_parameter("fc.bias")[0] = 1e3
        images.module.get_parameter("layer3.1.bn2.weight").fill_(1e-3)
    assert Depth(ratio=0.13).apply(images, image_work) == {"layer3": [0]}


def test_last_and_random_need_no_score(texts: Model, work: Work) -> None:
    assert Depth(rule="last").apply(copied(texts), work) == {"layers": [0, 1]}
    results = set()
    for seed in (0, 0, 1, 2, 3):
        torch.manual_seed(seed)
        results.add(str(Depth(rule="random").apply(copied(texts), work)))
    torch.manual_seed(0)
    assert str(Depth(rule="random").apply(copied(texts), work)) in results
    assert 1 < len(results) <= 4


@pytest.mark.parametrize(("ratio", "left"), [(0.2, 4), (0.25, 3), (0.49, 2), (0.5, 2), (0.75, 1)])
def test_the_ratio_is_a_share_of_the_layers(
    texts: Model, work: Work, ratio: float, left: int
) -> None:
    Depth(ratio=ratio, rule="last").apply(texts, work)
    assert len(transformer.parts(texts.module).layers) == left


def test_blocks_of_each_stage_of_a_resnet_are_removed_except_those_that_change_the_shape(
    images: Model, image_work: Work
) -> None:
    record = Depth(ratio=0.5, rule="last").apply(images, image_work)
    assert record == {"layer1": [0], "layer2": [0], "layer3": [0], "layer4": [0]}
    assert resnet.parts(images.module).layers == ("layer1.0", "layer2.0", "layer3.0", "layer4.0")
    other = rebuilt(images, (Depth, record))
    other.module.load_state_dict(images.module.state_dict(), strict=True)
    assert all(map(torch.equal, logits_of(other), logits_of(images)))


def test_a_shorter_bert_trains_loads_and_gives_the_same_outputs_in_every_form(
    make_lively: Callable[..., Model], work: Work, tmp_path: Path
) -> None:
    model = deep_bert(make_lively)
    step = Depth(layers=("bert.encoder.layer.1", "bert.encoder.layer.2"))
    record = step.apply(model, work)
    assert record == {"bert.encoder.layer": [0, 3]}
    config: Any = model.module.config
    assert config.num_hidden_layers == 2
    assert model.spec["num_hidden_layers"] == LAYERS, "the spec is from before any step"
    parts = bert.parts(model.module)
    assert parts.layers == ("bert.encoder.layer.0", "bert.encoder.layer.1")
    assert len(parts.heads) == 2
    model.steps.append(AppliedStep("prune/depth", {}, record, 0, 0.0))
    work.fit(model)
    expected = logits_of(model)
    loaded = artifact.load(artifact.save(model, tmp_path / "short"))
    assert all(map(torch.equal, logits_of(loaded), expected))
    form, trained = inference_form(loaded), bert.training_form(loaded.module)
    for inputs, target in zip(bert.examples(loaded.module), expected, strict=True):
        with torch.inference_mode():
            torch.testing.assert_close(output_of(form, inputs), target, atol=1e-5, rtol=0)
            torch.testing.assert_close(trained(inputs), target, atol=1e-5, rtol=0)


def test_the_exported_graph_has_the_layers_that_are_left(
    texts: Model, work: Work, tmp_path: Path
) -> None:
    Depth(ratio=0.25, rule="last").apply(texts, work)
    write_onnx(texts, tmp_path / "model.onnx", opset=18)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert sum(node.op_type == "Softmax" for node in nodes) == 3


def test_a_shared_layer_stays_shared_among_the_layers_that_are_left(
    texts: Model, work: Work
) -> None:
    def share(model: Model) -> Any:
        stack: Any = model.module.get_submodule("layers")
        stack[1], stack[3] = stack[0], stack[2]
        return stack

    first, _, second, _ = share(texts)
    record = Depth(layers=("layers.0",)).apply(texts, work)
    assert record == {"layers": [1, 2, 3]}
    left: Any = texts.module.get_submodule("layers")
    assert [layer is first for layer in left] == [True, False, False]
    assert [layer is second for layer in left] == [False, True, True]
    other = replace(texts, module=transformer.build(texts.spec))
    share(other)
    Depth.rebuild(other, record)
    other.module.load_state_dict(texts.module.state_dict(), strict=True)
    assert all(map(torch.equal, logits_of(other), logits_of(texts)))


@pytest.mark.parametrize("first", [Depth(rule="last"), LowRank(energy=0.3, multiple=1)])
def test_low_rank_pairs_and_fewer_layers_combine_in_either_order(
    texts: Model, work: Work, first: Any
) -> None:
    second = LowRank(energy=0.3, multiple=1) if isinstance(first, Depth) else Depth(rule="last")
    records = [(type(step), step.apply(texts, work)) for step in (first, second)]
    assert all(record for _, record in records)
    other = rebuilt(texts, *records)
    other.module.load_state_dict(texts.module.state_dict(), strict=True)
    assert all(map(torch.equal, logits_of(other), logits_of(texts)))


def test_zeros_are_kept_in_renumbered_layers_or_the_order_is_refused(
    texts: Model, work: Work
) -> None:
    everywhere, above = copied(texts), copied(texts)
    for model, layers in ((everywhere, ()), (above, ("layers.3.*",))):
        record = Unstructured(ratio=0.9, layers=layers).apply(model, work)
        model.steps.append(AppliedStep("prune/unstructured", {}, record, 0, 0.0))
    with pytest.raises(UsageError, match=r"layers\.3 would become layers\.2.*remove layers first"):
        Depth(layers=("layers.1",)).apply(above, work)
    record = Depth(layers=("layers.1",)).apply(everywhere, work)
    everywhere.steps.append(AppliedStep("prune/depth", {}, record, 0, 0.0))
    weight = everywhere.module.get_parameter("layers.2.widen.weight")
    zeros = weight == 0
    assert 0.5 < float(zeros.float().mean()) < 1
    work.fit(everywhere)
    assert torch.equal(everywhere.module.get_parameter("layers.2.widen.weight") == 0, zeros)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(SettingError, match="ratio"):
        Depth(ratio=ratio)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(SettingError, match="possible: score, last, random"):
        Depth(rule="first")


def test_an_unknown_layer_is_refused_with_a_near_name(texts: Model, work: Work) -> None:
    with pytest.raises(UnknownError, match=r"'layers\.9'.*Did you mean 'layers\.\d'"):
        Depth(layers=("layers.9",)).apply(texts, work)
    assert len(transformer.parts(texts.module).layers) == LAYERS


def test_emptying_a_stack_is_refused(texts: Model, images: Model, work: Work) -> None:
    every = tuple(f"layers.{index}" for index in range(LAYERS))
    with pytest.raises(UsageError, match="every layer of layers"):
        Depth(layers=every).apply(texts, work)
    with pytest.raises(UsageError, match="every layer of layer1"):
        Depth(layers=("layer1.0", "layer1.1")).apply(images, work)
    with pytest.raises(UsageError, match="would remove 6 layers, and 4 can be removed"):
        Depth(ratio=0.75, rule="last").apply(images, work)


def test_a_block_that_changes_the_shape_is_refused_by_name(images: Model, work: Work) -> None:
    with pytest.raises(
        UsageError, match=r"layer3\.0 has no identity shortcut.*layer1\.0, layer1\.1"
    ):
        Depth(layers=("layer3.0",)).apply(images, work)


@pytest.mark.parametrize("family", ["mlp", "cnn", "gan", "recurrent"])
def test_a_family_whose_layers_have_no_shortcut_is_refused_with_the_reason(
    family: str, reviews: Dataset, work: Work
) -> None:
    module = families.network(family)
    data = reviews if family == "recurrent" else datasets.load("digits")
    model = module.baseline(
        next(iter(families.family(family).baselines)), data, families.family(family).settings()
    )
    with pytest.raises(UsageError, match=f"none in a {family} model.*structured"):
        Depth(ratio=0.1).apply(model, work)


@pytest.mark.parametrize(
    "record",
    [
        {"layers": []},
        {"layers": [0, 4]},
        {"layers": [-1, 0]},
        {"layers": [1, 0]},
        {"layers": [0, 0]},
        {"layers": [True]},
        {"layers": "01"},
        {"layers": None},
        {"layers.0": [0]},
        {"layers.0.widen": [0]},
        {"": [0]},
        {"no.such": [0]},
        {"forward": [0]},
    ],
)
def test_a_record_that_does_not_fit_is_refused(texts: Model, record: dict[str, Any]) -> None:
    before = {name: value.shape for name, value in texts.module.state_dict().items()}
    with pytest.raises(ArtifactError, match=r"are not a rising list|is not a stack of layers"):
        Depth.rebuild(texts, record)
    assert {name: value.shape for name, value in texts.module.state_dict().items()} == before
