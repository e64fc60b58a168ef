"""Quantization: the record rebuilds it, exports compute its numbers, bad input is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from bmc import artifact, cli, targets
from bmc.bundle import Bundle
from bmc.compress.quantize.bf16 import Bf16
from bmc.compress.quantize.dynamic import Dynamic
from bmc.compress.quantize.fp16 import Fp16
from bmc.compress.quantize.mixed import Mixed
from bmc.compress.quantize.qat import Qat
from bmc.compress.quantize.static import Static
from bmc.compress.quantize.weights import Weights
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import ArtifactError, DataError, SettingError, UnknownError, UsageError
from bmc.export import ExportOptions, flow
from bmc.export.onnx_graph import write_onnx
from bmc.export.source import Source, source_of
from bmc.inference.form import become_inference_form
from bmc.inference.layers import quantizable_layers
from bmc.inference.quantized_form import quantize_layers, stored_bytes, with_zero_point_0
from bmc.inference.quantized_layers import QUANTIZABLE, QuantizedLayer
from bmc.inference.quantizers import ActivationQuantizer, LearnedActivationQuantizer
from bmc.inspect.executed import Executed
from bmc.model import AppliedStep, Model, Step, Work, output_of
from bmc.models import mlp, recurrent
from bmc.quantization.calibration import calibrate
from bmc.targets import RuntimeOptions
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests.models.test_mpnet import small as small_mpnet

FAMILIES = ("bert", "cnn", "gan", "mlp", "mpnet", "ngram", "recurrent", "resnet", "transformer")
STEPS: dict[str, Step] = {
    "static": Static(samples=16),
    "qat": Qat(samples=16),
    "mixed": Mixed(samples=16, max_drop=0),
    "dynamic": Dynamic(),
    "weights": Weights(),
    "weights-4": Weights(bits=4),
    "fp16": Fp16(samples=8),
    "bf16": Bf16(),
}
CROSSED = [
    (method, family)
    for method in STEPS
    for family in FAMILIES
    if (method, family) != ("mixed", "gan")  # a generator has no score to choose by
]


@pytest.fixture
def build_model(
    make_lively: Callable[..., Model], reviews: Dataset, digits: Dataset
) -> Callable[[str], Model]:
    """Return a function that makes a small model of a family, always the same one."""

    def build(family: str) -> Model:
        if family == "bert":
            return make_lively()
        if family == "mpnet":
            return small_mpnet()
        module = families.network(family)
        name = next(iter(families.family(family).baselines))
        torch.manual_seed(0)
        data = reviews if "text" in families.family(family).takes else digits
        sizes = {"resnet": {"width": 8}, "gan": {"width": 16}, "ngram": {"width": 4}}.get(
            family, {}
        )
        model: Model = module.baseline(name, data, families.family(family).settings(**sizes))
        with torch.no_grad():  # fresh outputs hardly differ from row to row
            output = module.parts(model.module).outputs[0]
            model.module.get_parameter(f"{output}.weight").mul_(10)
            for table in module.parts(model.module).embeddings:
                weight = model.module.get_parameter(f"{table}.weight")
                if not weight.any():  # those of an n-gram classifier start at zero
                    weight.normal_()
        return model

    return build


@pytest.fixture
def work_of(reviews: Dataset, digits: Dataset, tmp_path: Path) -> Callable[[Model], Work]:
    def work(model: Model) -> Work:
        data = reviews if model.encoder.kind in ("text", "ngram") else digits
        settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
        return work_for(
            data, (), settings, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
        )

    return work


def inputs_of(model: Model) -> list[dict[str, Tensor]]:
    return [
        {name: torch.from_numpy(array) for name, array in arrays.items()}
        for arrays in model.encoder.probes(4)
    ]


def outputs_of(model: Model) -> list[Tensor]:
    with torch.inference_mode():
        return [output_of(model.module.eval(), inputs) for inputs in inputs_of(model)]


def applied(model: Model, method: str, work: Work) -> AppliedStep:
    step = STEPS[method]
    record = json.loads(json.dumps(step.apply(model, work)))
    name = type(step).__module__.rpartition(".")[2]
    applied_step = AppliedStep(f"quantize/{name}", {}, record, 0, 0.0)
    model.steps.append(applied_step)
    return applied_step


@pytest.mark.parametrize(("method", "family"), CROSSED)
def test_a_record_rebuilds_names_and_shapes_and_the_outputs_are_bit_equal(
    method: str,
    family: str,
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    tmp_path: Path,
) -> None:
    model = build_model(family)
    record = applied(model, method, work_of(model)).record
    rebuilt = build_model(family)
    rebuilt.module = families.network(family).build(rebuilt.spec)
    type(STEPS[method]).rebuild(rebuilt, record)
    shapes = {name: (v.shape, v.dtype) for name, v in model.module.state_dict().items()}
    assert {n: (v.shape, v.dtype) for n, v in rebuilt.module.state_dict().items()} == shapes
    save_model(model.module, str(tmp_path / "weights.safetensors"))
    load_model(rebuilt.module, tmp_path / "weights.safetensors", strict=True)
    for first, other in zip(outputs_of(model), outputs_of(rebuilt), strict=True):
        assert torch.equal(first, other)


@pytest.mark.parametrize(
    ("method", "family"), [pair for pair in CROSSED if pair[0] in ("static", "weights", "fp16")]
)
def test_a_quantized_model_answers_nearly_as_before_and_not_exactly(
    method: str,
    family: str,
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
) -> None:
    model = build_model(family)
    work = work_of(model)
    rows = list(range(16)) if family == "gan" else list(work.data.train.rows[:16])
    arrays = model.encoder.batch(model.encoder.encode(rows), range(16))
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.inference_mode():
        before = output_of(model.module, inputs)
        applied(model, method, work)
        after = output_of(model.module, inputs)
    assert not torch.equal(before, after)
    assert (before - after).abs().mean() < 0.15 * before.abs().mean() + 1e-3


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


@pytest.mark.parametrize("method", ["static", "weights", "fp16"])
def test_the_bytes_that_are_promised_are_those_of_the_bundle(
    method: str, work_of: Callable[[Model], Work], digits: Dataset, tmp_path: Path
) -> None:
    model = mlp.baseline("mlp", digits, mlp.Settings(width=512))
    applied(model, method, work_of(model))
    bundle, promised = exported(model, digits, "onnx", tmp_path), stored_bytes(model.module)
    graph = 12_000  # the nodes themselves
    assert 3 * graph < promised < bundle.model_size() < promised + graph


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
    method: str,
    family: str,
    precision: str,
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    reviews: Dataset,
    digits: Dataset,
    tmp_path: Path,
) -> None:
    model = build_model(family)
    applied(model, method, work_of(model))
    data = digits if family == "cnn" else reviews
    with sourced(model, data, tmp_path) as (source, output):
        for target in ("onnx", "openvino", "tensorrt"):
            manifest = flow.export(source, target, output / target, force=False).manifest
            assert manifest.precision == precision
            assert manifest.parity["agreement"] > 0.95
            if precision == "int8" and family != "recurrent":
                executed = manifest.build["executed"]
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
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    reviews: Dataset,
    tmp_path: Path,
) -> None:
    model = build_model("bert")
    applied(model, "static", work_of(model))
    bundle = exported(model, reviews, "onnx", tmp_path)
    graph = onnx.load(bundle.model_path).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    tables = [node.input[0] for node in graph.node if node.op_type == "Gather"]
    assert onnx.TensorProto.INT8 in [kinds.get(name) for name in tables]
    assert kinds.keys() <= {name for node in graph.node for name in node.input}


def test_an_embedding_of_4_bits_is_gathered_before_it_is_dequantized(
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    reviews: Dataset,
    tmp_path: Path,
) -> None:
    model = build_model("bert")
    applied(model, "weights-4", work_of(model))
    bundle = exported(model, reviews, "onnx", tmp_path)
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


def test_a_quantized_model_is_not_quantized_again(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    applied(model, "static", work_of(model))
    with pytest.raises(UsageError, match="quantized already"):
        Static(samples=16).apply(model, work_of(model))


def test_structural_steps_come_before_quantization(
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    digits: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = build_model("mlp")
    applied(model, "static", work_of(model))
    model.data = {"fingerprint": digits.fingerprint, "reference": "digits"}
    saved = artifact.save(model, tmp_path / "model")
    for verb in ("prune", "share", "quantize"):
        assert cli.run([verb, str(saved)]) == 2
        assert "is quantized" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Static(calibrator="entropy"), "calibrator is 'entropy'"),
        (lambda: Static(samples=0), "samples is 0"),
        (lambda: Static(weight_bits=4), "weight_bits is 4"),
        (lambda: Static(calibrator="percentile", percentile=20.0), "percentile is 20"),
        (lambda: Static(percentile=99.0), "calibrator 'mse' does not read"),
        (lambda: Weights(group=64), "only 4-bit weights use"),
        (lambda: Weights(samples=8), "only 4-bit weights use"),
        (lambda: Weights(bits=3), "bits is 3"),
        (lambda: Weights(bits=4, group=24), "group is 24"),
        (lambda: Mixed(max_drop=-1.0), "max_drop is -1"),
        (lambda: Fp16(samples=0), "samples is 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()


def test_a_calibration_on_one_row_is_refused(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    with pytest.raises(UsageError, match=r"1 calibration sample\(s\)"):
        Static(samples=1).apply(model, work_of(model))


def test_a_layer_that_reads_nan_is_named(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="reads NaN or infinity"):
        Static(samples=8).apply(model, work_of(model))


def test_a_constant_activation_gets_a_scale_and_a_note(
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = build_model("mlp")
    with torch.no_grad():  # what the output layer reads is zero, whatever the image
        first = next(part for part in model.module.modules() if isinstance(part, nn.Linear))
        first.weight.zero_()
        first.bias.fill_(-1.0)
    applied(model, "static", work_of(model))
    assert "reads only zeros" in capsys.readouterr().err
    for created in outputs_of(model):
        assert torch.isfinite(created).all()


def test_calibration_rows_of_another_shape_are_refused(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("cnn")
    become_inference_form(model)
    record = {"classifier.2": {"bits": 8, "group": 0, "inputs": "static"}}
    path = next(
        p for p, part in quantizable_layers(model.module).items() if type(part) is nn.Linear
    )
    quantize_layers(model.module, {path: record["classifier.2"]})
    rows = [np.zeros(5, np.uint8)] * 2
    with pytest.raises(DataError, match=r"shape \(5,\) is no image"):
        calibrate(model.module, model.encoder, rows, "minmax", 99.9)


def test_a_name_that_no_layer_has_is_said_with_the_near_ones(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    with pytest.raises(UnknownError, match="hiden"):
        Static(samples=8, in_float=("hiden.*",)).apply(model, work_of(model))


@pytest.mark.parametrize(
    "entry",
    [
        {"bits": 2, "group": 0, "inputs": "static"},
        {"bits": 8, "group": -1, "inputs": "static"},
        {"bits": 4, "group": 48, "inputs": "float"},
        {"bits": 8, "group": 0, "inputs": "sometimes"},
        {"bits": 8},
        "int8",
    ],
)
def test_a_record_that_a_stranger_wrote_is_refused(
    entry: Any, build_model: Callable[[str], Model]
) -> None:
    model = build_model("mlp")
    with pytest.raises(ArtifactError, match="hidden"):
        Static.rebuild(model, {"hidden.0": entry})


@pytest.mark.parametrize("method", ["static", "qat"])
def test_without_zero_points_linear_layers_multiply_the_same_numbers(
    method: str,
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    tmp_path: Path,
) -> None:
    model = build_model("bert")
    applied(model, method, work_of(model))
    assert any(
        p.zero_point > 0 for p in model.module.modules() if isinstance(p, ActivationQuantizer)
    )
    moved = replace(model, module=with_zero_point_0(model.module, keep_unsigned=False))
    results = []
    for item, name in ((model, "own.onnx"), (moved, "moved.onnx")):
        write_onnx(item, tmp_path / name, opset=18)
        graph = onnx.load(tmp_path / name).graph
        initializers = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
        zero_points = [
            initializers[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"
        ]
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(tmp_path / name, options)
        inputs = {key: value.numpy() for key, value in inputs_of(model)[0].items()}
        results.append((session.run(None, inputs)[0], zero_points))
    (outputs, zero_points), (shifted, all_zero) = results
    assert any(zero_points)
    assert not any(zero or zero.dtype != np.int8 for zero in all_zero)
    np.testing.assert_allclose(outputs, shifted, atol=1e-3 * np.abs(outputs).max())


@pytest.mark.parametrize("method", ["static", "qat"])
def test_a_form_for_a_target_without_zero_points_has_none_and_answers_nearly_alike(
    method: str, build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("cnn")
    work = work_of(model)
    applied(model, method, work)
    form = with_zero_point_0(model.module, keep_unsigned=False)
    quantizers, before = (
        [
            quantizer
            for layer in item.modules()
            if isinstance(layer, QuantizedLayer) and not isinstance(layer, nn.Linear)
            for quantizer in layer.input_quantizers
        ]
        for item in (form, model.module)
    )
    assert any(quantizer.unsigned for quantizer in before)
    assert not any(quantizer.unsigned or quantizer.zero_point for quantizer in quantizers)
    encoded = model.encoder.encode(work.data.train.rows[:64])
    arrays = model.encoder.batch(encoded, range(64))
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.inference_mode():
        first, other = output_of(model.module.eval(), inputs), output_of(form.eval(), inputs)
    assert not torch.equal(first, other)
    assert (first - other).abs().mean() < 0.15 * first.abs().mean() + 1e-3


def test_a_form_whose_zero_points_are_0_already_is_itself(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("bert")
    applied(model, "weights", work_of(model))
    assert with_zero_point_0(model.module, keep_unsigned=False) is model.module


def test_unsigned_activations_with_zero_point_0_stay_where_a_target_takes_them(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("cnn")  # what a rectifier gives is never below 0
    applied(model, "static", work_of(model))
    kept, moved = (with_zero_point_0(model.module, keep_unsigned=item) for item in (True, False))
    before, after = (
        [part for part in form.modules() if isinstance(part, ActivationQuantizer)]
        for form in (model.module, kept)
    )
    from_zero = [index for index, one in enumerate(before) if one.unsigned and not one.zero_point]
    assert from_zero
    assert all(after[position].unsigned and not after[position].shifted for position in from_zero)
    for layer in [part for part in moved.modules() if isinstance(part, QuantizedLayer)]:
        for quantizer in layer.input_quantizers:
            assert bool(quantizer.unsigned) == quantizer.shifted
            assert not quantizer.shifted or isinstance(layer, nn.Linear)


def test_mixed_takes_the_worst_layers_back_into_float(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("bert")
    with torch.no_grad():  # an outlier in one weight of each row ruins that layer's scales
        inner: Any = model.module.get_submodule("bert.encoder.layer.0.output.dense")
        inner.weight[:, 0] = 300.0
    step = Mixed(samples=16, max_drop=0.0)
    record = step.apply(model, work_of(model))
    every = QUANTIZABLE.values()
    left = [p for p, part in model.module.named_modules() if type(part) in every]
    assert left == list(record)


def test_training_moves_the_learned_ranges() -> None:
    quantizer = LearnedActivationQuantizer()
    quantizer.scale.data.fill_(0.5)
    values = torch.randn(100, generator=torch.Generator().manual_seed(0), requires_grad=True)
    quantizer(values).square().sum().backward()
    assert quantizer.scale.grad is not None
    assert quantizer.scale.grad.abs() > 0
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_a_bundle_that_is_slower_says_why() -> None:
    from bmc.errors import GateError
    from bmc.export.speed import Speed, refuse_slower
    from bmc.measure.scores import Interval

    executed = [Executed("MatMul", "float32", "a")]
    slower = Speed(Interval(0.5, 0.4, 0.6), 2.0)
    with pytest.raises(
        GateError, match=r"2\.00x slower than fp32 here \(still executed in fp32.*MatMul"
    ):
        refuse_slower(slower, executed, "int8")
    with pytest.raises(GateError, match="overhead-bound"):
        refuse_slower(Speed(slower.ratio, 0.1), executed, "int8")
    refuse_slower(Speed(Interval(0.95, 0.9, 1.01), 2.0), executed, "int8")


@pytest.mark.parametrize("precision", ["int8-weights", "int4-weights", "fp16", "bf16"])
def test_what_is_chosen_for_size_is_not_refused_for_speed(
    precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from bmc.export.speed import Speed, refuse_slower
    from bmc.measure.scores import Interval

    refuse_slower(Speed(Interval(0.7, 0.6, 0.8), 2.0), [], precision)
    assert f"1.43x slower than fp32 here; {precision} is chosen for size" in " ".join(
        capsys.readouterr().err.split()
    )
