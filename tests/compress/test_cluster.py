"""Clustering: what k-means finds, what is stored, how it trains, what runtimes keep."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn

from bmc import artifact
from bmc import data as datasets
from bmc.compress.prune.structured import Structured
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.share import cluster
from bmc.compress.share.cluster import Cluster
from bmc.compress.share.lowrank import LowRank
from bmc.compress.share.tie import Tie
from bmc.contracts import families
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.export.onnx_graph import write_onnx
from bmc.files import size_of
from bmc.inference.codebook import Codebook, is_clustered
from bmc.inference.form import inference_form
from bmc.inspect.layers import costs_of
from bmc.model import AppliedStep, Model, Step, Work, output_of
from bmc.models import bert, mpnet
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests._records import refusal_of

KEY = "bert.encoder.layer.0.attention.self.key"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(
        epochs=1, precision="fp32", device="cpu", optimizer="sgd", learning_rate=0.05
    )
    digits = datasets.load("digits")
    return work_for(digits, (), settings, tmp_path, tmp_path, never, run="")


def image_model(family: str, name: str = "", **settings: Any) -> Model:
    module = families.network(family)
    torch.manual_seed(0)
    digits = datasets.load("digits")
    model: Model = module.baseline(
        name or family, digits, families.family(family).settings(**settings)
    )
    return model


def weight_of(model: Model, name: str) -> Tensor:
    result: Any = model.module.get_submodule(name).weight
    return result.detach().clone()  # type: ignore[no-any-return]


def outputs_of(module: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return output_of(module.eval(), inputs)


def best_error(weights: list[float], count: int) -> float:
    """Return the least possible sum of squares, over all ways to cut sorted weights in runs."""
    ordered = np.sort(np.array(weights))

    def spread(start: int, stop: int) -> float:
        part = ordered[start:stop]
        return float(((part - part.mean()) ** 2).sum())

    least = [0.0] + [np.inf] * len(ordered)
    for _ in range(count):
        least = [0.0] + [
            min(least[start] + spread(start, stop) for start in range(stop))
            for stop in range(1, len(ordered) + 1)
        ]
    return least[-1]


@pytest.mark.parametrize("start", ["linear", "k-means++"])
def test_k_means_finds_separate_clusters_and_their_means(start: str, work: Work) -> None:
    model = image_model("mlp", width=32)
    centers = torch.tensor([-3.0, -1.0, 0.5, 4.0])
    generator = torch.Generator().manual_seed(0)
    picked = torch.randint(4, (32, 64), generator=generator)
    noise = 0.1 * torch.rand((32, 64), generator=generator)
    weight = model.module.get_parameter("hidden.0.weight")
    with torch.no_grad():
        weight.copy_(centers[picked] + noise)
    Cluster(values=4, start=start).apply(model, work)
    result = weight_of(model, "hidden.0")
    for index in range(4):
        mean = (centers[picked] + noise)[picked == index].mean()
        torch.testing.assert_close(torch.unique(result[picked == index]), mean[None])


def test_each_weight_gets_its_nearest_value_and_the_error_is_near_the_least() -> None:
    """k-means++ starts at random: the mean of ten starts is near, each one may be farther."""
    weights = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    errors = []
    for seed in range(10):
        torch.manual_seed(seed)
        values, indices = cluster.k_means(weights, 6, "k-means++", zero=False)
        distances = np.abs(weights[..., None] - values)
        assert np.array_equal(distances.argmin(axis=-1), indices)
        errors.append(float(((values[indices] - weights) ** 2).sum()))
    assert np.mean(errors) <= 1.5 * best_error(weights.flatten().tolist(), 6)


@pytest.mark.parametrize(("values", "bits"), [(16, 4), (17, 8), (256, 8)])
def test_the_weights_file_holds_indices_and_values(
    values: int, bits: int, work: Work, tmp_path: Path
) -> None:
    model = image_model("cnn")
    weights = {name: value.numel() for name, value in model.module.named_parameters()}
    record = Cluster(values=values).apply(model, work)
    model.steps.append(AppliedStep("share/cluster", {}, record, 0, 0.0))
    folder = artifact.save(model, tmp_path / "model")
    clustered = sum(weights.pop(f"{name}.weight") for name in record)
    expected = clustered * bits / 8 + 4 * (sum(weights.values()) + values * len(record))
    header = 1500
    assert expected <= size_of(folder / "model.safetensors") <= expected + header
    inputs = families.network("cnn").examples(model.module)[0]
    assert torch.equal(
        outputs_of(artifact.load(folder).module, inputs), outputs_of(model.module, inputs)
    )


@pytest.mark.parametrize(
    ("family", "step"), [("cnn", Cluster(values=256)), ("bert", Cluster(values=16))]
)
def test_onnx_and_openvino_files_hold_indices_and_run_times_unfold_them(
    family: str,
    step: Cluster,
    make_lively: Callable[..., Model],
    work: Work,
    tmp_path: Path,
) -> None:
    model = make_lively(layers=1) if family == "bert" else image_model(family)
    step.apply(model, work)
    write_onnx(model, tmp_path / "model.onnx", 18)
    graph = onnx.load(tmp_path / "model.onnx").graph
    sizes = dict.fromkeys((onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8), 0)
    for tensor in graph.initializer:
        size = onnx.numpy_helper.to_array(tensor).nbytes
        sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + size
        assert tensor.data_type != onnx.TensorProto.FLOAT or size <= 2 * 16**2 * 4
    indices = [value for name, value in model.module.state_dict().items() if "indices" in name]
    assert sizes[onnx.TensorProto.UINT8] == sum(value.numel() for value in indices)
    openvino.save_model(
        openvino.Core().read_model(tmp_path / "model.onnx"),
        tmp_path / "model.xml",
        compress_to_fp16=False,
    )
    assert size_of(tmp_path / "model.bin") <= sum(sizes.values()) + 1000
    inputs = families.network(family).examples(model.module)[0]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (result,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    np.testing.assert_allclose(result, outputs_of(model.module, inputs), atol=1e-5)


def test_a_layer_that_would_not_get_smaller_is_not_clustered(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model = make_lively()
    record = Cluster(values=256).apply(model, work)
    assert KEY in record
    assert "classifier" not in record  # 2 x 32 weights take less than 256 values
    assert type(model.module.get_submodule("classifier")) is nn.Linear


def test_outputs_convolutions_and_embeddings_are_clustered(
    make_lively: Callable[..., Model], work: Work
) -> None:
    assert (
        {"features.0", "features.3", "hidden", "output"}
        >= set(Cluster(values=4).apply(image_model("cnn"), work))
        >= {"features.3", "hidden", "output"}
    )
    record = Cluster(values=4).apply(make_lively(), work)
    assert {"classifier", "bert.embeddings.word_embeddings"} & set(record)
    assert "bert.embeddings.word_embeddings" in record


def test_each_group_of_output_channels_has_its_own_values(work: Work) -> None:
    model = image_model("cnn")
    before = weight_of(model, "hidden")
    record = Cluster(values=8, groups=4, layers=("hidden", "output")).apply(model, work)
    assert record["hidden"] == {"values": 8, "groups": 4, "zero": False}
    assert record["output"]["groups"] == 2  # 10 rows do not divide by 4
    after = weight_of(model, "hidden")
    for rows in after.chunk(4):
        assert len(torch.unique(rows)) == 8
    item = image_model("cnn")
    Cluster(values=8, layers=("hidden",)).apply(item, work)
    assert (after - before).norm() < (weight_of(item, "hidden") - before).norm()


@pytest.mark.parametrize("values", [3, 16, 17, 256])
def test_odd_widths_are_stored_and_restored(values: int, work: Work) -> None:
    model = image_model("cnn", width=9)  # 3x3 filters of 9 channels: 81 weights a row
    Cluster(values=values, layers=("features.3",)).apply(model, work)
    layer: Any = model.module.get_submodule("features.3")
    inputs = torch.randn(2, 9, 4, 4)
    expected = nn.functional.conv2d(inputs, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(inputs), expected)
    assert min(values, 100) <= len(torch.unique(layer.weight)) <= values


def test_a_step_moves_each_value_as_the_mean_of_its_weights() -> None:
    torch.manual_seed(0)
    model = Model(nn.Sequential(nn.Linear(7, 12)), "mlp", {}, (), None)  # type: ignore[arg-type]
    Cluster.rebuild(model, {"0": {"values": 5, "groups": 2, "zero": False}})
    layer: Any = model.module.get_submodule("0")
    book: Any = model.module.get_submodule("0.codebook")
    indices = torch.randint(5, (12, 7), dtype=torch.uint8)
    book.fill(torch.randn(2, 5), indices)
    inputs, target = torch.randn(6, 7), torch.randn(6, 12)
    weight: Any = layer.weight
    free = weight.detach().clone().requires_grad_()
    (nn.functional.linear(inputs, free, layer.bias) - target).square().sum().backward()  # type: ignore[no-untyped-call]
    (model.module(inputs) - target).square().sum().backward()
    gradient: Any = free.grad
    for group in range(2):
        rows = slice(6 * group, 6 * group + 6)
        for index in range(5):
            members = gradient[rows][indices[rows] == index]
            torch.testing.assert_close(book.values.grad[group, index], members.mean())


def test_training_moves_the_values_and_leaves_the_indices(work: Work) -> None:
    model = image_model("mlp", width=32)
    record = Cluster(values=8).apply(model, work)
    model.steps.append(AppliedStep("share/cluster", {}, record, 0, 0.0))
    before = copy.deepcopy(model.module.state_dict())
    work.fit(model)
    after = model.module.state_dict()
    assert before.keys() == after.keys()
    for name in after:
        assert torch.equal(before[name], after[name]) == name.endswith("indices")
    assert len(torch.unique(weight_of(model, "hidden.0"))) == 8


def test_zeros_of_a_pruned_layer_stay_zero_through_training(work: Work) -> None:
    model = image_model("mlp", width=32)
    weight = model.module.get_parameter("hidden.0.weight")
    pruned = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    with torch.no_grad():
        weight.masked_fill_(pruned, 0.0)
    record = Cluster(values=8).apply(model, work)
    assert record["hidden.0"]["zero"]
    assert torch.equal(weight_of(model, "hidden.0") == 0, pruned)
    model.steps.append(AppliedStep("share/cluster", {}, record, 0, 0.0))
    work.fit(model)
    assert torch.equal(weight_of(model, "hidden.0") == 0, pruned)


def test_tied_weights_share_one_codebook(make_lively: Callable[..., Model], work: Work) -> None:
    model = make_lively()
    other = KEY.replace(".0.", ".1.")
    layers: list[Any] = [model.module.get_submodule(name) for name in (KEY, other)]
    layers[1].weight = layers[0].weight
    record = Cluster(layers=(other,)).apply(model, work)
    assert len(record) == 1
    layers = [model.module.get_submodule(name) for name in (KEY, other)]
    assert layers[0].codebook is layers[1].codebook
    assert torch.equal(layers[0].weight, layers[1].weight)


def test_costs_count_indices_and_values_and_no_weights(work: Work) -> None:
    model = image_model("cnn")
    inputs = families.network("cnn").examples(model.module)[0]
    before = costs_of(model.module.eval(), inputs, runs=1)
    Cluster().apply(model, work)
    after = costs_of(model.module.eval(), inputs, runs=1)
    stored = sum(value.nbytes for value in model.module.state_dict().values())
    assert after.bytes == stored < before.bytes / 6
    assert after.macs == before.macs


def test_the_sizes_before_and_after_are_printed(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    Cluster().apply(image_model("cnn"), work)
    assert "x smaller" in (err := capsys.readouterr().err)
    assert "zlib" in err


def test_mpnet_positions_stay_a_codebook(make_lively: Callable[..., Model], work: Work) -> None:
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    spec = {"model_type": "mpnet", "vocab_size": 100, "num_hidden_layers": 2, **sizes}
    torch.manual_seed(0)
    model = replace(make_lively(), module=mpnet.build(spec), family="mpnet", spec=spec)
    Cluster(values=16).apply(model, work)
    inputs = mpnet.examples(model.module)[0]
    expected = outputs_of(model.module, inputs)
    torch.testing.assert_close(
        outputs_of(inference_form(model), inputs), expected, atol=1e-5, rtol=0
    )
    table = inference_form(model).get_submodule("positions.table")
    assert is_clustered(table)


def test_a_generator_is_clustered_and_exported(work: Work) -> None:
    model = image_model("gan", width=32)
    Cluster(values=32).apply(model, work)
    inputs = families.network("gan").examples(model.module)[0]
    expected = outputs_of(model.module, inputs)
    torch.testing.assert_close(
        outputs_of(inference_form(model), inputs), expected, atol=1e-5, rtol=0
    )


def test_a_student_can_start_from_a_clustered_teacher(
    make_lively: Callable[..., Model], work: Work
) -> None:
    teacher = make_lively()
    Cluster().apply(teacher, work)
    student = bert.student(teacher, bert.Size(layers=1, hidden=16, heads=2), work.data)
    assert not is_clustered(student.module)


def test_the_output_of_a_regression_is_not_clustered(work: Work) -> None:
    model = image_model("mlp", width=64)
    model.task = "regression"
    assert set(Cluster(values=4).apply(model, work)) == {"hidden.0"}
    model = image_model("mlp", width=64)
    model.task = "regression"
    with pytest.raises(SettingError, match="regression's output"):
        Cluster(values=4, layers=("output",)).apply(model, work)


def test_an_unknown_layer_is_refused_with_a_near_name(work: Work) -> None:
    with pytest.raises(UnknownError, match=r"'hiden.0'. Did you mean 'hidden.0'"):
        Cluster(layers=("hiden.0",)).apply(image_model("mlp"), work)


@pytest.mark.parametrize("step", [LowRank(), Structured(), Tie(("a:b",)), Unstructured()])
def test_a_step_that_needs_weights_without_a_codebook_is_refused_afterwards(
    step: Step, work: Work
) -> None:
    model = image_model("mlp", width=32)
    Cluster().apply(model, work)
    assert is_clustered(model.module)
    with pytest.raises(UsageError, match="codebook"):
        step.apply(model, work)


def test_clustering_twice_changes_nothing_more(work: Work) -> None:
    model = image_model("mlp", width=64)
    Cluster().apply(model, work)
    before = weight_of(model, "hidden.0")
    assert "hidden.0" not in Cluster(values=4).apply(model, work)
    assert torch.equal(weight_of(model, "hidden.0"), before)


@pytest.mark.parametrize(
    "settings", [{"values": 1}, {"values": 257}, {"groups": 0}, {"start": "random"}]
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Cluster(**settings)


@pytest.mark.parametrize(
    "record",
    [
        {"hidden.0": {"values": 16}},
        {"hidden.0": {"values": "16", "groups": 1, "zero": False}},
        {"hidden.0": {"values": 1000, "groups": 1, "zero": False}},
        {"hidden.0": {"values": 16, "groups": 5, "zero": False}},
        {"hidden.1": {"values": 16, "groups": 1, "zero": False}},
        {"no.such": {"values": 16, "groups": 1, "zero": False}},
        {"hidden.0": None},
    ],
)
def test_a_record_that_does_not_fit_is_refused(record: dict[str, Any], tmp_path: Path) -> None:
    message = refusal_of(image_model("mlp", width=32), "share/cluster", record, tmp_path)
    assert next(iter(record)) in message or "step share/cluster does not fit" in message


@pytest.mark.parametrize("values", [16, 64])
def test_gradients_of_looked_up_rows_add_up_to_those_of_all(values: int) -> None:
    generator = torch.Generator().manual_seed(0)
    codebook = Codebook((40, 7), values, groups=1)
    indices = torch.randint(values, (40, 7), generator=generator, dtype=torch.uint8)
    codebook.fill(torch.randn(1, values, generator=generator), indices)
    rows = torch.randint(40, (12,), generator=generator)
    weights = torch.randn(12, 7, generator=generator)

    def gradient_of(parts: list[slice]) -> Tensor:
        codebook.values.grad = None
        for part in parts:
            (codebook.rows(rows[part]) * weights[part]).sum().backward()  # type: ignore[no-untyped-call]
        assert codebook.values.grad is not None
        return codebook.values.grad

    whole = gradient_of([slice(0, 12)])
    assert whole.abs().sum() > 0
    torch.testing.assert_close(gradient_of([slice(0, 3), slice(3, 12)]), whole)
