"""Exports of quantized models: what each target stores, computes and refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from bmc import artifact, targets
from bmc.bundle import Bundle
from bmc.compress.quantize.weights import Weights
from bmc.data import Dataset
from bmc.errors import UsageError
from bmc.export import ExportOptions, flow
from bmc.export.source import Source, source_of
from bmc.inference.quantized_form import stored_bytes
from bmc.model import AppliedStep, Model, Work
from bmc.models import mlp, recurrent
from bmc.targets import RuntimeOptions
from tests import _timing
from tests.compress.quantized import applied, build, outputs_of, work_on


def exported(model: Model, data: Dataset, target: str, folder: Path) -> Bundle:
    """Save a model, and export it to a target."""
    with sourced(model, data, folder) as (source, output):
        return flow.export(source, target, output, force=False)


@contextmanager
def sourced(
    model: Model, data: Dataset, folder: Path, **options: Any
) -> Iterator[tuple[Source, Path]]:
    model.data = {"fingerprint": data.fingerprint, "reference": data.name}
    saved = artifact.save(model, folder / "model")
    with source_of(saved, data, ExportOptions(allow_slower=True, **options)) as source:
        yield source, folder / "bundle"


@pytest.fixture(scope="module")
def bundles_of(
    reviews: Dataset, digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], dict[str, Bundle]]:
    """Return a function that quantizes a model, and exports it to every target, once.

    These exports write and run the fp32 bundles that quantized ones are timed against, too.
    """

    @functools.cache
    def export(method: str, family: str) -> dict[str, Bundle]:
        folder = tmp_path_factory.mktemp("quantized")
        model = build(family, reviews, digits, layers=1)
        applied(model, method, work_on(model, reviews, digits, folder))
        data = digits if family == "cnn" else reviews
        with (
            pytest.MonkeyPatch.context() as patch,
            sourced(model, data, folder) as (source, output),
        ):
            _timing.run_in_fp32_too(patch)
            return {
                target: flow.export(source, target, output / target, force=False)
                for target in ("onnx", "openvino", "tensorrt")
            }

    return export


@pytest.mark.parametrize("method", ["static", "weights", "fp16"])
def test_the_bytes_that_are_promised_are_those_of_the_bundle(
    method: str, work_of: Callable[[Model], Work], digits: Dataset, tmp_path: Path
) -> None:
    model = mlp.baseline("mlp", digits, mlp.Settings(width=512))
    applied(model, method, work_of(model))
    bundle, promised = exported(model, digits, "onnx", tmp_path), stored_bytes(model.module)
    graph = 12_000  # the nodes themselves
    assert 3 * graph < promised < bundle.model_size() < promised + graph


def test_a_quantized_model_for_mobile_devices_is_timed_against_one_without_such_a_model(
    work_of: Callable[[Model], Work], digits: Dataset, tmp_path: Path
) -> None:
    """The limit of the mobile format is one on quantized weights, not on those in fp32."""
    model = mlp.baseline("mlp", digits, mlp.Settings(width=32))
    applied(model, "static", work_of(model))
    with sourced(model, digits, tmp_path, mobile=True) as (source, output):
        assert not source.in_fp32.options.mobile
        bundle = flow.export(source, "onnx", output, force=False)
    assert bundle.in_mobile_format() is not None


@pytest.mark.parametrize(
    ("method", "family", "precision"),
    [
        ("static", "cnn", "int8"),
        ("static", "bert", "int8"),
        ("static", "mpnet", "int8"),
        ("static", "recurrent", "int8"),
        ("weights-4", "bert", "int4-weights"),
        ("fp16", "cnn", "fp16"),
    ],
)
def test_every_target_computes_the_numbers_of_a_quantization(
    method: str, family: str, precision: str, bundles_of: Callable[[str, str], dict[str, Bundle]]
) -> None:
    for bundle in bundles_of(method, family).values():
        assert bundle.manifest.precision == precision
        assert bundle.manifest.parity["agreement"] > 0.95
        if precision == "int8" and family != "recurrent":
            executed = bundle.manifest.build["executed"]
            assert any(kind in ("int8", "uint8") for _, kind, _ in executed)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_static_text_network_with_gates_answers_alike_in_onnx_and_openvino(
    cell: str, reviews: Dataset, work_of: Callable[[Model], Work], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = recurrent.baseline(cell, reviews, recurrent.Settings(hidden=16))
    with torch.no_grad():
        model.module.get_parameter("classifier.weight").mul_(10)
    applied(model, "static", work_of(model))
    expected, inputs = outputs_of(model)[-1].numpy(), model.encoder.probes(4)[-1]
    with sourced(model, reviews, tmp_path) as (source, output):
        for target in ("onnx", "openvino"):
            bundle = flow.export(source, target, output / target, force=False)
            assert bundle.manifest.precision == "int8"
            with targets.load(target).load(bundle, RuntimeOptions()) as session:
                outputs = session.run(inputs)["logits"]
            np.testing.assert_allclose(outputs, expected, atol=0.02 * np.abs(expected).max())


def test_weights_of_8_bits_of_a_gru_stay_small_in_openvino(
    reviews: Dataset, work_of: Callable[[Model], Work], tmp_path: Path
) -> None:
    model = recurrent.baseline("gru", reviews, recurrent.Settings(hidden=128, embedding=16))
    in_float = sum(parameter.nbytes for parameter in model.module.parameters())
    applied(model, "weights", work_of(model))
    bundle = exported(model, reviews, "openvino", tmp_path)
    assert bundle.model_size() < 0.5 * in_float


def initializers(path: Path) -> dict[str, int]:
    """Return how many values of each type an ONNX file stores."""
    sizes: dict[str, int] = {}
    for tensor in onnx.load(path).graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        sizes[kind] = sizes.get(kind, 0) + int(np.prod(tensor.dims))
    return sizes


def test_four_bits_are_stored_as_four_bits_and_the_opset_is_raised(
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    digits: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = build_model("mlp")
    applied(model, "weights-4", work_of(model))
    bundle = exported(model, digits, "onnx", tmp_path)
    assert "opset" in capsys.readouterr().err
    stored = initializers(bundle.model_path)
    assert stored["INT4"] == sum(
        part.weight.numel() for part in model.module.modules() if isinstance(part, nn.Linear)
    )
    assert onnx.load(bundle.model_path).opset_import[0].version == 21


def test_an_embedding_is_stored_as_integers_once_and_gathered_before_it_is_dequantized(
    bundles_of: Callable[[str, str], dict[str, Bundle]],
) -> None:
    bundle = bundles_of("static", "bert")["onnx"]
    graph = onnx.load(bundle.model_path).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    tables = [node.input[0] for node in graph.node if node.op_type == "Gather"]
    assert onnx.TensorProto.INT8 in [kinds.get(name) for name in tables]
    assert kinds.keys() <= {name for node in graph.node for name in node.input}


def test_an_embedding_of_4_bits_is_gathered_before_it_is_dequantized(
    bundles_of: Callable[[str, str], dict[str, Bundle]],
) -> None:
    bundle = bundles_of("weights-4", "bert")["onnx"]
    nodes = onnx.load(bundle.model_path).graph.node
    gathered = [node for node in nodes if node.op_type == "GatherBlockQuantized"]
    assert len(gathered) == 1
    assert bundle.manifest.parity["agreement"] > 0.95


def test_an_embedding_of_4_bits_without_blocks_still_answers(
    reviews: Dataset, work_of: Callable[[Model], Work], tmp_path: Path
) -> None:
    model = recurrent.baseline("lstm", reviews, recurrent.Settings(hidden=16, embedding=40))
    applied(model, "weights-4", work_of(model))
    bundle = exported(model, reviews, "onnx", tmp_path)
    table = model.module.get_parameter("embedding.words.weight")
    assert initializers(bundle.model_path)["INT4"] >= table.numel()
    assert bundle.manifest.parity["agreement"] > 0.95


@pytest.mark.parametrize(("method", "target"), [("dynamic", "tensorrt"), ("bf16", "onnx")])
def test_a_target_that_cannot_execute_a_precision_refuses_and_names_those_that_can(
    method: str,
    target: str,
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    digits: Dataset,
    tmp_path: Path,
) -> None:
    model = build_model("mlp")
    applied(model, method, work_of(model))
    with (
        sourced(model, digits, tmp_path) as (source, output),
        pytest.raises(UsageError, match=r"can(:|not)"),
    ):
        flow.export(source, target, output, force=False)
    assert not output.exists()


def test_a_gru_of_8_bits_is_refused_by_name_where_a_target_takes_it_in_float_alone(
    reviews: Dataset, work_of: Callable[[Model], Work], tmp_path: Path
) -> None:
    def model_with(step: Weights) -> Model:
        model = recurrent.baseline("gru", reviews, recurrent.Settings(hidden=16))
        model.steps.append(
            AppliedStep("quantize/weights", {}, step.apply(model, work_of(model)), 0, 0.0)
        )
        return model

    with pytest.raises(UsageError, match=r"GRU only in float.*--set in_float=\S+ ") as refused:
        exported(model_with(Weights()), reviews, "tensorrt", tmp_path / "refused")
    named = str(refused.value).partition("in_float=")[2].split()[0]
    bundle = exported(
        model_with(Weights(in_float=tuple(named.split(",")))), reviews, "tensorrt", tmp_path
    )
    assert bundle.manifest.precision == "int8-weights"
