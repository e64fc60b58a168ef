"""Structured pruning: what goes, what must not, and that nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from bmc import artifact
from bmc import data as datasets
from bmc.compress.prune.structured import Structured, groups_of
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.share.cluster import Cluster
from bmc.compress.share.lowrank import LowRank
from bmc.compress.share.tie import Tie
from bmc.contracts import families
from bmc.data import Dataset, Examples
from bmc.errors import ModelCodeError, SettingError, UnknownError, UsageError
from bmc.export.onnx_graph import write_onnx
from bmc.inputs.latent import LatentEncoder
from bmc.model import AppliedStep, Model, Record, Work, output_of
from bmc.models import bert, gan, image_networks
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

IMAGE = {"channels": 1, "height": 8, "width": 8, "outputs": 10}
ENCODER = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
ENCODER |= {"intermediate_size": 64, "max_position_embeddings": 32}
TOKENS = {"vocabulary": 60, "columns": 1, "max_length": 32, "outputs": 2, "dropout": 0.1}
RECURRENT = {"layers": 2, "hidden": 16, "dropout": 0.1}
SPECS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"model_type": "bert", **ENCODER}),
    "mpnet": ("mpnet", {"model_type": "mpnet", **ENCODER}),
    "transformer": (
        "transformer",
        {**TOKENS, "layers": 2, "hidden": 32, "heads": 4, "feed_forward": 64},
    ),
    "mlp": ("mlp", {**IMAGE, "hidden": 32, "depth": 2, "dropout": 0.1}),
    "cnn": ("cnn", {**IMAGE, "filters": 16, "hidden": 32, "dropout": 0.1}),
    "resnet18": ("resnet", {**IMAGE, "architecture": "resnet18", "filters": 16}),
    "resnet50": ("resnet", {**IMAGE, "architecture": "resnet50", "filters": 16}),
    "vgg11": (
        "vgg",
        {**IMAGE, "architecture": "vgg11", "filters": 16, "hidden": 32, "dropout": 0.1},
    ),
    "mobilenet-v2": ("mobilenet-v2", {**IMAGE, "multiplier": 0.5, "dropout": 0.1}),
    "gan": ("gan", {"latent": 10, "hidden": 16, "channels": 1, "height": 8, "width": 8}),
    **{
        f"{cell} over tokens": (
            "recurrent",
            {**TOKENS, **RECURRENT, "cell": cell, "input": "text", "embedding": 24}
            | {"readout": "mean"},
        )
        for cell in ("rnn", "lstm", "gru")
    },
    "lstm over series": (
        "recurrent",
        {**RECURRENT, "cell": "lstm", "input": "series", "channels": 6, "noise": 0.1}
        | {"readout": "last", "outputs": 9},
    ),
}


def family_of(model: Model) -> Any:
    return families.network(model.family)


def build(name: str) -> Model:
    """Build a small model with weights that are neither tiny nor alike; always the same one."""
    family, spec = SPECS[name]
    torch.manual_seed(0)
    module = families.network(family).build(spec)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.add_(0.1 * torch.rand(buffer.shape))
    labels = tuple(str(index) for index in range(spec.get("outputs", 2)))
    task = "generation" if family == "gan" else "classification"
    encoder: Any = LatentEncoder(10)  # unused, unless the model is a generator
    return Model(module, family, spec, labels, encoder, task)


def outputs_of(model: Model) -> list[Tensor]:
    with torch.inference_mode():
        inputs = family_of(model).examples(model.module)
        return [output_of(model.module.eval(), arguments) for arguments in inputs]


def sizes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.module.state_dict().items()}


def rebuilt(name: str, *records: tuple[Any, Record]) -> Model:
    """Return a fresh model with the records replayed as if they came from a file."""
    model = build(name)
    for technique, record in records:
        technique.rebuild(model, json.loads(json.dumps(record)))
    return model


@torch.no_grad()
def kill_half(model: Model) -> dict[str, int]:
    """Let the odd units of each group make nothing, so that no answer depends on them."""
    alive = {}
    for group in (item for item in groups_of(model) if item.kind != "width"):
        for member in group.members:
            layer, dead = model.module.get_submodule(member.paths[0]), member.units % 2 == 1
            for parameter, weight in layer.named_parameters():
                if isinstance(layer, nn.RNNBase) and member.axis == "out":
                    weight.view(-1, len(dead), *weight.shape[1:])[:, dead] = 0
                elif "_hh_" in parameter:
                    continue
                elif member.axis == "out" and not isinstance(layer, nn.Embedding):
                    weight[dead] = 0
                elif member.axis == "in" and weight.dim() > 1:
                    weight[:, dead] = 0
        alive[group.name] = (group.units + 1) // 2
    return alive


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return digits_work(tmp_path)


def digits_work(folder: Path, rows: int = 128) -> Work:
    """Return work on a few digits."""
    data = datasets.load("digits")
    train, validation = (
        Examples(part.rows[:rows], part.labels[:rows]) for part in (data.train, data.validation)
    )
    few = replace(data, train=train, validation=validation)
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu", batch_size=32)

    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    return work_for(few, (), settings, folder, folder, never, run="")


@pytest.fixture
def network() -> Model:
    """Return a perceptron for digits, 64-32-32-10."""
    return on_digits("mlp")


def on_digits(name: str) -> Model:
    model = build(name)
    model.encoder = image_networks.encoder_for(datasets.load("digits"))
    return model


@pytest.mark.parametrize("name", SPECS)
def test_units_without_effect_are_removed_and_no_output_changes(name: str, work: Work) -> None:
    model = build(name)
    alive = kill_half(model)
    assert alive
    before, heads = outputs_of(model), family_of(model).parts(model.module).heads
    record = Structured(ratio=0.5, multiple=4).apply(model, work)
    assert {group.name: group.units for group in groups_of(model) if group.kind != "width"} == alive
    assert family_of(model).parts(model.module).heads == dict.fromkeys(heads, 2)
    for output, expected in zip(outputs_of(model), before, strict=True):
        assert expected.std() > 0
        scale = expected.abs().max().item()
        torch.testing.assert_close(output, expected, atol=1e-4 * scale, rtol=0)
    again = rebuilt(name, (Structured, record))
    assert sizes(again) == sizes(model)
    again.module.load_state_dict(model.module.state_dict())
    assert all(map(torch.equal, outputs_of(again), outputs_of(model)))


@pytest.mark.parametrize("name", [name for name in SPECS if name not in ("mpnet", "resnet50")])
def test_a_pruned_model_learns(name: str, work: Work) -> None:
    model = build(name)
    Structured(ratio=0.5).apply(model, work)
    inputs = family_of(model).examples(model.module)[0]
    output_of(model.module.train(), inputs).square().sum().backward()  # type: ignore[no-untyped-call]
    missing = [name for name, value in model.module.named_parameters() if value.grad is None]
    assert not missing


def test_heads_are_whole_and_the_residual_stream_stays(work: Work) -> None:
    model = build("bert")
    record = Structured(ratio=0.5).apply(model, work)
    layer = "bert.encoder.layer.1"
    assert record[f"{layer}.attention.self"] == {"type": "attention", "heads": 2}
    assert record[f"{layer}.attention.self.query"] == {"type": "Linear", "in": 32, "out": 16}
    assert record[f"{layer}.attention.output.dense"] == {"type": "Linear", "in": 16, "out": 32}
    assert record[f"{layer}.output.dense"] == {"type": "Linear", "in": 32, "out": 32}
    assert not any("embeddings" in path or "Norm" in path for path in record)
    assert record["classifier"] == {"type": "Linear", "in": 16, "out": 2}


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        (("heads",), ("attention",)),
        (("hidden",), ("intermediate.dense", "layer.0.output.dense", "layer.1.output.dense")),
    ],
)
def test_only_the_named_kinds_are_pruned(
    what: tuple[str, ...], changed: tuple[str, ...], work: Work
) -> None:
    model = build("bert")
    record = Structured(what=what).apply(model, work)
    inside = [path for path in record if path.startswith("bert.encoder")]
    assert inside
    assert all(any(part in path for part in changed) for path in inside)


def test_the_width_of_a_bert_is_pruned_where_it_is_named(work: Work) -> None:
    model = build("bert")
    record = Structured(ratio=0.25, what=("width",)).apply(model, work)
    assert record["bert.embeddings.word_embeddings"]["width"] == 24
    assert record["bert.encoder.layer.0.attention.self.query"]["in"] == 24
    assert record["bert.encoder.layer.1.output.LayerNorm"]["features"] == 24
    assert {path: item["out"] for path, item in record.items() if path == "classifier"} == {}
    again = rebuilt("bert", (Structured, record))
    again.module.load_state_dict(model.module.state_dict())
    assert all(map(torch.equal, outputs_of(again), outputs_of(model)))


@pytest.mark.parametrize(
    ("hidden", "ratio", "multiple", "left"),
    [
        (100, 0.5, 8, 48),
        (100, 0.5, 1, 50),
        (100, 0.99, 8, 8),
        (100, 0.99, 1, 1),
        (20, 0.4, 8, 16),
        (8, 0.5, 8, 8),
        (6, 0.5, 8, 6),
        (100, 0.01, 8, 100),
        (100, 0.04, 8, 96),
    ],
)
def test_sizes_are_multiples_and_never_zero(
    hidden: int, ratio: float, multiple: int, left: int, work: Work
) -> None:
    family = families.network("mlp")
    spec = {**IMAGE, "hidden": hidden, "depth": 1, "dropout": 0.0}
    model = Model(family.build(spec), "mlp", spec, (), work.data, "classification")  # type: ignore[arg-type]
    Structured(ratio=ratio, multiple=multiple).apply(model, work)
    assert sizes(model)["output.weight"] == (10, left)


@pytest.mark.parametrize(("ratio", "left"), [(0.05, 64), (0.25, 48), (0.6, 32), (0.85, 8)])
def test_channels_above_16_are_multiples_of_16(ratio: float, left: int, work: Work) -> None:
    family = families.network("cnn")
    spec = {**IMAGE, "filters": 32, "hidden": 100, "dropout": 0.0}
    model = Model(family.build(spec), "cnn", spec, (), work.data, "classification")  # type: ignore[arg-type]
    Structured(ratio=ratio, layers=("features.3", "hidden")).apply(model, work)
    assert sizes(model)["features.3.weight"][0] == left
    assert sizes(model)["hidden.weight"][0] % 8 == 0


def test_a_ratio_of_a_layer_overrides_the_common_ratio(network: Model, work: Work) -> None:
    step = Structured(ratio=0.5, ratios={"hidden.0": 0.75, "hidden.3": 0.0})
    assert json.loads(json.dumps(asdict(step)))["ratios"] == {"hidden.0": 0.75, "hidden.3": 0.0}
    step.apply(network, work)
    assert sizes(network)["hidden.0.weight"] == (8, 64)
    assert sizes(network)["hidden.3.weight"] == (32, 8)


def test_only_layers_that_a_pattern_names_are_pruned(network: Model, work: Work) -> None:
    record = Structured(layers=("hidden.3*",)).apply(network, work)
    assert record == {
        "hidden.3": {"type": "Linear", "in": 32, "out": 16},
        "output": {"type": "Linear", "in": 16, "out": 10},
    }


def test_global_pruning_spares_the_layer_that_matters(network: Model, work: Work) -> None:
    with torch.no_grad():  # only a quarter of the second layer's units do anything
        network.module.get_parameter("hidden.3.weight")[8:] = 0
        network.module.get_parameter("hidden.3.bias")[8:] = 0
        network.module.get_parameter("output.weight")[:, 8:] = 0
    before = outputs_of(network)
    Structured(ratio=0.375, scope="global").apply(network, work)
    assert sizes(network)["hidden.0.weight"] == (32, 64)
    assert sizes(network)["hidden.3.weight"] == (8, 32)
    for output, expected in zip(outputs_of(network), before, strict=True):
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


def test_units_of_equal_importance_do_not_all_stay(network: Model, work: Work) -> None:
    for value in network.module.parameters():
        nn.init.ones_(value)
    Structured(ratio=0.5, scope="global").apply(network, work)
    left = sum(sizes(network)[f"hidden.{index}.weight"][0] for index in (0, 3))
    assert left == 40, "half of 64, and what rounds up to one multiple where none would be left"


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_norms_include_the_weights_that_read_a_unit(
    criterion: str, network: Model, work: Work
) -> None:
    with torch.no_grad():
        network.module.get_parameter("output.weight")[:, :16] = 0  # made, and read by nobody
    before = outputs_of(network)
    Structured(criterion=criterion, layers=("hidden.3",)).apply(network, work)
    for output, expected in zip(outputs_of(network), before, strict=True):
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


def test_taylor_removes_units_that_do_not_change_the_loss(network: Model, work: Work) -> None:
    with torch.no_grad():
        network.module.get_parameter("output.weight")[:, ::2] = 5.0  # adds the same to all classes
    kept = network.module.get_parameter("hidden.3.weight")[1::2].detach().clone()
    Structured(criterion="taylor", layers=("hidden.3",)).apply(network, work)
    assert torch.equal(network.module.get_parameter("hidden.3.weight"), kept)
    assert all(value.grad is None for value in network.module.parameters())


def test_taylor_measures_recurrent_units_and_heads(reviews: Dataset, tmp_path: Path) -> None:
    for family in ("recurrent", "transformer"):
        module = families.network(family)
        torch.manual_seed(0)
        model = module.baseline("lstm", reviews, families.family(family).settings())
        few = replace(reviews, train=Examples(reviews.train.rows[:40], reviews.train.labels[:40]))
        settings = TrainingSettings(device="cpu")
        work = work_for(few, (), settings, tmp_path, tmp_path, artifact.load, run="")  # type: ignore[arg-type]
        chosen = [
            torch.cat([value.flatten() for value in pruned(model, item, work).module.parameters()])
            for item in ("taylor", "l2")
        ]
        assert chosen[0].shape == chosen[1].shape
        assert not torch.equal(*chosen)


def pruned(model: Model, criterion: str, work: Work) -> Model:
    family = family_of(model)
    copied = replace(model, module=family.build(model.spec))
    copied.module.load_state_dict(model.module.state_dict())
    Structured(criterion=criterion).apply(copied, work)
    return copied


def test_random_follows_the_seed(work: Work) -> None:
    results = []
    for seed in (1, 1, 2):
        model = build("mlp")
        torch.manual_seed(seed)
        Structured(criterion="random").apply(model, work)
        results.append(model.module.get_parameter("hidden.0.weight"))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_rounds_end_at_the_same_sizes_with_training_between(work: Work) -> None:
    once, slowly = on_digits("mlp"), on_digits("mlp")
    seen = []

    def fit(model: Model, **options: Any) -> dict[str, float]:
        seen.append((sizes(model)["output.weight"], options))
        return work.fit(model, **options)

    Structured(ratio=0.75).apply(once, work)
    step = Structured(ratio=0.75, rounds=3, epochs_between=2)
    record = step.apply(slowly, replace(work, fit=fit))  # type: ignore[arg-type]
    assert sizes(slowly) == sizes(once)
    assert seen == [
        ((10, 24), {"epochs": 2, "name": "round-1"}),
        ((10, 16), {"epochs": 2, "name": "round-2"}),
    ]
    assert not torch.equal(outputs_of(slowly)[0], outputs_of(once)[0])
    assert record == Structured(ratio=0.75).apply(on_digits("mlp"), work)


def shared_transformer() -> Model:
    """Return a transformer whose second layer is its first one."""
    model = build("transformer")
    layers: Any = model.module.get_submodule("layers")
    layers[1] = layers[0]
    return model


def test_users_of_a_shared_layer_are_pruned_together(work: Work) -> None:
    model = shared_transformer()
    alive, before = kill_half(model), outputs_of(model)
    assert alive
    record = Structured().apply(model, work)
    layers: Any = model.module.get_submodule("layers")
    assert layers[0] is layers[1]
    assert layers[0].widen.out_features == 32
    assert layers[0].attention.heads == 2
    assert set(family_of(model).parts(model.module).heads.values()) == {2}
    for output, expected in zip(outputs_of(model), before, strict=True):
        torch.testing.assert_close(output, expected, atol=1e-4, rtol=0)
    again = shared_transformer()
    Structured.rebuild(again, json.loads(json.dumps(record)))
    again.module.load_state_dict(model.module.state_dict())
    assert all(map(torch.equal, outputs_of(again), outputs_of(model)))


def test_users_of_a_tied_weight_are_pruned_together(work: Work) -> None:
    model = build("transformer")
    tie = Tie(("layers.0.widen.weight:layers.1.widen.weight",)).apply(model, work)
    alive, before = kill_half(model), outputs_of(model)
    assert alive
    record = Structured().apply(model, work)
    first, second = (model.module.get_parameter(f"layers.{index}.widen.weight") for index in (0, 1))
    assert first is second
    assert first.shape == (32, 32)
    again = rebuilt("transformer", (Tie, tie), (Structured, record))
    assert again.module.get_parameter("layers.1.widen.weight") is again.module.get_parameter(
        "layers.0.widen.weight"
    )
    again.module.load_state_dict(model.module.state_dict())
    for fresh, output, expected in zip(outputs_of(again), outputs_of(model), before, strict=True):
        assert torch.equal(fresh, output)
        torch.testing.assert_close(output, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shares", ["a layer", "a weight"])
def test_one_user_of_a_shared_weight_is_not_pruned_alone(shares: str, work: Work) -> None:
    model = shared_transformer() if shares == "a layer" else build("transformer")
    if shares == "a weight":
        Tie(("layers.0.widen.weight:layers.1.widen.weight",)).apply(model, work)
    before = sizes(model)
    with pytest.raises(UsageError, match=r"layers\.0\.widen shares weights with layers\.1"):
        Structured(layers=("layers.0.widen",)).apply(model, work)
    assert sizes(model) == before


def test_both_directions_of_a_recurrent_layer_are_pruned_together_if_tied(work: Work) -> None:
    model = build("lstm over tokens")
    tie = Tie(("layers.0.ahead.weight_ih_l0:layers.0.back.weight_ih_l0",)).apply(model, work)
    record = Structured().apply(model, work)
    ahead, back = (model.module.get_submodule(f"layers.0.{item}") for item in ("ahead", "back"))
    assert ahead.weight_ih_l0 is back.weight_ih_l0
    assert ahead.hidden_size == back.hidden_size == 8
    again = rebuilt("lstm over tokens", (Tie, tie), (Structured, record))
    again.module.load_state_dict(model.module.state_dict())
    assert all(map(torch.equal, outputs_of(again), outputs_of(model)))


def test_a_weight_that_layers_of_different_kinds_share_is_not_pruned(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build("mlp")
    first, second = (model.module.get_submodule(f"hidden.{index}") for index in (0, 3))
    first.bias = second.bias
    before = sizes(model)
    assert Structured().apply(model, work) == {}
    assert sizes(model) == before
    assert "shares weights with hidden.3" in capsys.readouterr().err


def test_factorized_layers_are_pruned_and_prune_share_prune_replays(work: Work) -> None:
    model = build("transformer")
    first = Structured(ratio=0.25).apply(model, work)
    split = LowRank(energy=0.5, layers=("layers.*",)).apply(model, work)
    assert "layers.0.narrow" in split
    alive, before = kill_half(model), outputs_of(model)
    second = Structured(multiple=1).apply(model, work)
    assert {group.name: group.units for group in groups_of(model) if group.kind != "width"} == alive
    for output, expected in zip(outputs_of(model), before, strict=True):
        torch.testing.assert_close(output, expected, atol=1e-4, rtol=0)
    again = rebuilt("transformer", (Structured, first), (LowRank, split), (Structured, second))
    again.module.load_state_dict(model.module.state_dict())
    assert all(map(torch.equal, outputs_of(again), outputs_of(model)))


def test_zeros_of_a_mask_stay_zeros_through_pruning_and_training(
    network: Model, work: Work
) -> None:
    step = Unstructured(ratio=0.6)
    record = step.apply(network, work)
    network.steps.append(AppliedStep("prune/unstructured", asdict(step), record, 0, 0.0))
    weight = network.module.get_parameter("hidden.3.weight").detach().clone()
    record = Structured().apply(network, work)
    network.steps.append(AppliedStep("prune/structured", asdict(Structured()), record, 0, 0.0))
    cut = network.module.get_parameter("hidden.3.weight")
    zeros = cut == 0
    rows = [row for row in weight if any(_is_inside(kept, row) for kept in cut.detach())]
    assert len(rows) == 16, "each row that stays is a part of one that was there"
    work.fit(network)
    assert 0.2 < zeros.float().mean() < 0.9
    assert torch.equal(cut == 0, zeros)


def _is_inside(part: Tensor, whole: Tensor) -> bool:
    rest = iter(whole.tolist())
    return all(value in rest for value in part.tolist())


def test_codebooks_are_refused(network: Model, work: Work) -> None:
    Cluster().apply(network, work)
    with pytest.raises(UsageError, match="codebook"):
        Structured().apply(network, work)


def test_a_quantized_model_is_refused(network: Model, work: Work) -> None:
    network.steps.append(AppliedStep("quantize/static", {}, {}, 0, 0.0))
    with pytest.raises(UsageError, match="quantize"):
        Structured().apply(network, work)


def test_a_generator_has_no_labels_to_measure_a_loss_by(work: Work) -> None:
    with pytest.raises(UsageError, match="labels"):
        Structured(criterion="taylor").apply(build("gan"), work)


@pytest.mark.parametrize(
    "settings",
    [
        {"ratio": 0.0},
        {"ratio": 1.0},
        {"ratio": float("nan")},
        {"criterion": "l3"},
        {"scope": "model"},
        {"what": ()},
        {"what": ("channel",)},
        {"multiple": -1},
        {"rounds": 0},
        {"epochs_between": 0},
        {"ratios": {"hidden.0": 1.0}},
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings)).replace("_", " ").rstrip("s")):
        Structured(**settings)


@pytest.mark.parametrize("settings", [{"layers": ("hiden.0",)}, {"ratios": {"hiden.0": 0.5}}])
def test_an_unknown_layer_is_refused_with_a_near_name(
    settings: dict[str, Any], network: Model, work: Work
) -> None:
    before = sizes(network)
    with pytest.raises(UnknownError, match=r"'hiden\.0'.*'hidden\.0'"):
        Structured(**settings).apply(network, work)
    assert sizes(network) == before


def test_a_layer_of_another_kind_is_refused_with_the_setting_that_names_it(work: Work) -> None:
    with pytest.raises(UsageError, match="add what=width"):
        Structured(layers=("*.attention.output.dense",)).apply(build("bert"), work)


class Odd(nn.Module):
    """Channels that are mixed in ways that no graph knows, and hidden units that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 32, 3)
        self.second = nn.Conv2d(32, 32, 1)
        self.grouped = nn.Conv2d(32, 32, 3, groups=4)
        self.hidden = nn.Linear(32, 32)
        self.output = nn.Linear(32, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, 10)."""
        mixed = self.first(pixels)
        mixed = mixed.unflatten(1, (2, 16)).transpose(1, 2).flatten(1, 2)
        pooled = self.grouped(self.second(mixed).relu()).mean(dim=(2, 3))
        return self.output(self.hidden(pooled).relu())  # type: ignore[no-any-return]


def test_what_the_graph_cannot_follow_is_named_and_the_rest_is_pruned(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    module = image_networks.Wrapped((1, 8, 8), Odd())
    model = Model(module, "python", {}, (), work.data)  # type: ignore[arg-type]
    record = Structured().apply(model, work)
    assert set(record) == {"network.hidden", "network.output"}
    err = capsys.readouterr().err
    assert "network.first is not pruned: the graph cannot follow it" in err
    assert "network.grouped is not pruned: network.grouped depends on its units, and is a" in err


def test_a_concatenation_is_followed_into_its_reader(work: Work) -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 1)
            self.norm, self.output = nn.BatchNorm2d(32), nn.Linear(32, 10)

        def forward(self, pixels: Tensor) -> Tensor:
            first = self.first(pixels).relu()
            both = torch.cat([self.second(first).relu(), first], dim=1)
            return self.output(self.norm(both).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    model = Model(image_networks.Wrapped((1, 8, 8), Dense()), "python", {}, (), work.data)  # type: ignore[arg-type]
    record = Structured().apply(model, work)
    assert {path: list(shape.values())[1:] for path, shape in record.items()} == {
        "network.first": [1, 8, 1],
        "network.second": [8, 8, 1],
        "network.norm": [16],
        "network.output": [16, 10],
    }


def test_a_model_that_cannot_be_traced_is_refused(work: Work) -> None:
    class Broken(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            raise RuntimeError("out of order")

    model = Model(image_networks.Wrapped((1, 8, 8), Broken()), "python", {}, (), work.data)  # type: ignore[arg-type]
    with pytest.raises(ModelCodeError, match="out of order"):
        Structured().apply(model, work)


def test_a_pruned_model_is_saved_loaded_and_exported_in_its_new_shapes(
    work: Work, tmp_path: Path
) -> None:
    model = on_digits("cnn")
    step = Structured(ratio=0.5)
    record = step.apply(model, work)
    model.steps.append(AppliedStep("prune/structured", asdict(step), record, 0, 0.0))
    loaded = artifact.load(artifact.save(model, tmp_path / "model"))
    assert sizes(loaded) == sizes(model)
    assert all(map(torch.equal, outputs_of(loaded), outputs_of(model)))
    write_onnx(loaded, tmp_path / "model.onnx", opset=18)
    graph = onnx.load(tmp_path / "model.onnx").graph
    shapes = {tuple(tensor.dims) for tensor in graph.initializer if len(tensor.dims) > 1}
    assert {(8, 1, 3, 3), (16, 8, 3, 3)} <= shapes
    assert {tuple(sorted(shape)) for shape in shapes if len(shape) == 2} == {(16, 64), (10, 16)}


def test_the_exported_file_has_the_pruned_heads(
    make_lively: Callable[..., Model], work: Work, tmp_path: Path
) -> None:
    whole = make_lively()
    spec = {**whole.spec, "num_hidden_layers": 1}
    model = replace(whole, module=bert.build(spec), spec=spec)
    Structured(ratio=0.5).apply(model, work)
    write_onnx(model, tmp_path / "model.onnx", opset=18)
    graph = onnx.load(tmp_path / "model.onnx").graph
    weights = [tensor for tensor in graph.initializer if "positions" not in tensor.name]
    shapes = {tuple(sorted(weight.dims)) for weight in weights if len(weight.dims) == 2}
    assert (16, 32) in shapes, "one head of 16 is left"
    assert (32, 64) not in shapes, "the feed-forward layer is half as wide"
    assert (32, 96) not in shapes


def test_a_record_is_read_without_torch_pruning(
    work: Work, tmp_path: Path, blocked: Callable[..., Any]
) -> None:
    model = on_digits("mlp")
    record = Structured().apply(model, work)
    model.steps.append(AppliedStep("prune/structured", asdict(Structured()), record, 0, 0.0))
    folder = artifact.save(model, tmp_path / "model")
    code = (
        f"from bmc import artifact; from pathlib import Path; artifact.load(Path({str(folder)!r}))"
    )
    done = blocked(code, "torch_pruning")
    assert done.returncode == 0, done.stderr


def test_the_generator_keeps_its_images_and_its_form(work: Work) -> None:
    model = build("gan")
    Structured(ratio=0.5).apply(model, work)
    form = gan.inference_form(model)
    for inputs, expected in zip(gan.examples(model.module), outputs_of(model), strict=True):
        assert expected.shape[1:] == (1, 8, 8)
        with torch.inference_mode():
            torch.testing.assert_close(form(**inputs), expected, atol=1e-5, rtol=0)


def test_taylor_measures_frozen_layers_too(network: Model, work: Work) -> None:
    with torch.no_grad():
        network.module.get_parameter("output.weight")[:, ::2] = 5.0  # adds the same to all classes
    kept = network.module.get_parameter("hidden.3.weight")[1::2].detach().clone()
    network.module.requires_grad_(requires_grad=False)
    Structured(criterion="taylor", layers=("hidden.3",)).apply(network, work)
    assert torch.equal(network.module.get_parameter("hidden.3.weight"), kept)
