"""Layer sharing: what becomes one, from what it starts, where it is stored, what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import openvino
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from bmc import artifact
from bmc import data as datasets
from bmc.compress.share.cluster import Cluster
from bmc.compress.share.layers import Layers
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.export.onnx_graph import write_onnx
from bmc.inference.form import inference_form
from bmc.inspect.layers import costs_of
from bmc.model import AppliedStep, Model, Work, output_of
from bmc.models import bert, mpnet
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

LAYER = "bert.encoder.layer"
DEEP = {"num_hidden_layers": 6}


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(
        reviews, (), settings, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
    )


@pytest.fixture
def deep(make_lively: Callable[..., Model]) -> Model:
    """Return a BERT of six layers that differ."""
    copied = make_lively()
    spec = {**copied.spec, **DEEP}
    torch.manual_seed(0)
    module = bert.build(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return replace(copied, module=module, spec=spec)


def image_model(family: str, name: str = "", **settings: Any) -> Model:
    module = families.network(family)
    torch.manual_seed(0)
    digits = datasets.load("digits")
    model: Model = module.baseline(
        name or family, digits, families.family(family).settings(**settings)
    )
    return model


def outputs_of(module: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return output_of(module.eval(), inputs)


def parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_all_layers_share_the_mean_of_their_parameters(deep: Model, work: Work) -> None:
    name = "intermediate.dense.weight"
    before = [deep.module.get_parameter(f"{LAYER}.{n}.{name}").detach().clone() for n in range(6)]
    entry = parameters(deep.module.get_submodule(f"{LAYER}.0"))
    size = parameters(deep.module)
    record = Layers().apply(deep, work)
    assert record == {"what": "all", "groups": [[f"{LAYER}.{n}" for n in range(6)]]}
    assert parameters(deep.module) == size - 5 * entry
    shared = deep.module.get_parameter(f"{LAYER}.5.{name}")
    torch.testing.assert_close(shared, torch.stack(before).mean(dim=0))


def test_groups_of_three_start_from_their_first_layers(deep: Model, work: Work) -> None:
    name = "attention.self.key.weight"
    before = [deep.module.get_parameter(f"{LAYER}.{n}.{name}").detach().clone() for n in range(6)]
    Layers(group=3, start="first").apply(deep, work)
    for index in range(6):
        weight = deep.module.get_parameter(f"{LAYER}.{index}.{name}")
        assert torch.equal(weight, before[index // 3 * 3])


@pytest.mark.parametrize(
    ("what", "shared", "alone"),
    [
        ("attention", "attention.output.LayerNorm", "intermediate.dense"),
        ("feed-forward", "output.LayerNorm", "attention.self.query"),
    ],
)
def test_one_part_is_shared_and_the_other_is_not(
    what: str, shared: str, alone: str, deep: Model, work: Work
) -> None:
    Layers(what=what).apply(deep, work)
    first, last = (deep.module.get_submodule(f"{LAYER}.{index}") for index in (0, 5))
    assert first.get_submodule(shared) is last.get_submodule(shared)
    assert first.get_submodule(alone) is not last.get_submodule(alone)
    inputs = bert.examples(deep.module)[0]
    expected = outputs_of(deep.module, inputs)
    torch.testing.assert_close(
        outputs_of(inference_form(deep), inputs), expected, atol=1e-5, rtol=0
    )


def test_the_best_start_is_the_layer_that_scores_highest_for_all(deep: Model, work: Work) -> None:
    def score_of(index: int) -> float:
        copied = replace(deep, module=copy.deepcopy(deep.module))
        encoder: Any = copied.module.get_submodule("bert.encoder")
        encoder.layer = nn.ModuleList([encoder.layer[index]] * 6)
        return work.score(copied)

    scores = [score_of(position) for position in range(6)]
    assert len(set(scores)) > 1, "scores that do not differ prove nothing"
    Layers(start="best").apply(deep, work)
    assert work.score(deep) == max(scores)


def test_layers_and_heads_are_still_listed_one_by_one(deep: Model, work: Work) -> None:
    before = bert.parts(deep.module)
    Layers().apply(deep, work)
    assert bert.parts(deep.module) == before
    assert len(before.layers) == len(before.heads) == 6


def test_the_multiplications_of_a_shared_layer_count_at_each_use(deep: Model, work: Work) -> None:
    inputs = bert.examples(deep.module)[0]
    before = costs_of(deep.module, inputs, runs=1)
    Layers().apply(deep, work)
    after = costs_of(deep.module, inputs, runs=1)
    assert after.macs == before.macs
    assert after.parameters == parameters(deep.module) < before.parameters


def test_shared_layers_are_trained_as_one_and_the_training_form_gives_the_same_outputs(
    deep: Model, work: Work
) -> None:
    Layers().apply(deep, work)
    inputs = bert.examples(deep.module)[0]
    form = bert.training_form(deep.module)
    with torch.inference_mode():
        torch.testing.assert_close(form(inputs), outputs_of(deep.module, inputs), atol=1e-5, rtol=0)
    before = parameters(deep.module)
    work.fit(deep)
    assert parameters(deep.module) == before
    assert deep.module.get_submodule(f"{LAYER}.0") is deep.module.get_submodule(f"{LAYER}.5")


@pytest.mark.parametrize("what", ["all", "attention"])
def test_a_shared_layer_is_stored_once_in_every_file(
    what: str, make_lively: Callable[..., Model], work: Work, tmp_path: Path
) -> None:
    model = make_lively()
    record = Layers(what=what).apply(model, work)
    model.steps.append(AppliedStep("share/layers", {}, record, 0, 0.0))
    count = parameters(model.module)
    unused = 32 * (128 - model.encoder.longest()["sequence"])  # positions that no row reaches
    artifact.save(model, tmp_path / "model")
    with safe_open(tmp_path / "model/model.safetensors", framework="pt") as file:
        held = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    assert held == count
    write_onnx(artifact.load(tmp_path / "model"), tmp_path / "model.onnx", 18)
    graph = onnx.load(tmp_path / "model.onnx").graph
    floats = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    written = sum(onnx.numpy_helper.to_array(item).size for item in floats)
    count -= unused
    assert count - 64 <= written <= count + 8  # token types are folded into positions
    ir = openvino.Core().read_model(tmp_path / "model.onnx")
    openvino.save_model(ir, tmp_path / "model.xml", compress_to_fp16=False)
    assert (tmp_path / "model.bin").stat().st_size <= 4 * written + 1024


def test_the_last_layer_computes_one_row_also_where_it_is_shared(deep: Model, work: Work) -> None:
    Layers().apply(deep, work)
    form = inference_form(deep)
    narrow: Any = form.get_submodule("layers.5.narrow")
    rows: list[int] = []
    narrow.register_forward_hook(lambda layer, arguments, output: rows.append(len(output)))
    inputs = bert.examples(deep.module)[0]
    outputs_of(form, inputs)
    batch, length = inputs["input_ids"].shape
    assert rows == [batch * length] * 5 + [batch]


def test_mpnet_shares_its_layers(make_lively: Callable[..., Model], work: Work) -> None:
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    spec = {"model_type": "mpnet", "vocab_size": 100, "num_hidden_layers": 4, **sizes}
    torch.manual_seed(0)
    model = replace(make_lively(), module=mpnet.build(spec), family="mpnet", spec=spec)
    record = Layers(what="attention", group=2).apply(model, work)
    assert [len(group) for group in record["groups"]] == [2, 2]
    Layers().apply(model, work)
    inputs = mpnet.examples(model.module)[0]
    expected = outputs_of(model.module, inputs)
    torch.testing.assert_close(
        outputs_of(inference_form(model), inputs), expected, atol=1e-5, rtol=0
    )
    assert len(mpnet.parts(model.module).layers) == 4


def test_a_recurrent_network_shares_the_layers_after_its_first(work: Work) -> None:
    family = families.network("recurrent")
    vowels = datasets.load("japanese-vowels")
    model = family.baseline(
        "lstm", vowels, families.family("recurrent").settings(hidden=8, layers=4)
    )
    record = Layers().apply(model, work)
    assert record["groups"] == [["layers.1", "layers.2", "layers.3"]]
    inputs = family.examples(model.module)[0]
    expected = outputs_of(model.module, inputs)
    torch.testing.assert_close(
        outputs_of(inference_form(model), inputs), expected, atol=1e-5, rtol=0
    )


def test_blocks_of_a_stage_share_convolutions_and_keep_their_batch_norms(work: Work) -> None:
    model = image_model("resnet", "resnet34", width=8)
    record = Layers().apply(model, work)
    assert [len(group) for group in record["groups"]] == [3, 3, 5, 2]
    first, second = (model.module.get_submodule(f"layer3.{index}") for index in (1, 2))
    assert first.get_submodule("conv1") is second.get_submodule("conv1")
    assert first.get_submodule("bn1") is not second.get_submodule("bn1")
    rebuilt = image_model("resnet", "resnet34", width=8)
    Layers.rebuild(rebuilt, record)
    assert parameters(rebuilt.module) == parameters(model.module)


def test_blocks_that_differ_are_refused_with_their_difference(work: Work) -> None:
    with pytest.raises(UsageError, match=r"conv|features|weight of .* is \(\d+"):
        Layers().apply(image_model("cnn"), work)


def test_hidden_layers_of_one_width_are_shared(work: Work) -> None:
    model = image_model("mlp", width=16, depth=4)
    assert [len(group) for group in Layers().apply(model, work)["groups"]] == [3]
    assert len(families.network("mlp").parts(model.module).layers) == 4


def test_groups_that_do_not_divide_the_layers_are_refused_with_the_divisors(
    deep: Model, work: Work
) -> None:
    with pytest.raises(SettingError, match=r"the 6 equal layers .* groups of 4; possible: 2, 3, 6"):
        Layers(group=4).apply(deep, work)


def test_attention_is_refused_where_there_is_none(work: Work) -> None:
    with pytest.raises(SettingError, match="mlp model have no attention"):
        Layers(what="attention").apply(image_model("mlp", width=16, depth=4), work)


def test_layers_with_codebooks_are_refused(deep: Model, work: Work) -> None:
    Cluster(values=4).apply(deep, work)
    with pytest.raises(UsageError, match="cluster last"):
        Layers().apply(deep, work)


def test_layers_that_are_shared_already_do_not_change(deep: Model, work: Work) -> None:
    Layers().apply(deep, work)
    assert Layers(group=3).apply(deep, work) == {}


@pytest.mark.parametrize(
    "settings", [{"what": "norms"}, {"group": -1}, {"group": 1}, {"start": "last"}]
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Layers(**settings)


@pytest.mark.parametrize(
    "record",
    [
        {"what": "__class__", "groups": [[f"{LAYER}.0", f"{LAYER}.1"]]},
        {"what": "all", "groups": [["bert.embeddings", f"{LAYER}.1"]]},
        {"what": "all", "groups": [[f"{LAYER}.0", "no.such.layer"]]},
        {"what": "all", "groups": [[f"{LAYER}.0", {}]]},
        {"what": "all", "groups": "all"},
    ],
)
def test_a_record_that_names_no_equal_layers_is_refused(
    record: dict[str, Any], deep: Model
) -> None:
    with pytest.raises(ArtifactError, match="shared layers"):
        Layers.rebuild(deep, record)
