"""Quantization after other steps: what they left is quantized as it stands, and exported alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from bmc import artifact
from bmc import data as datasets
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.quantize.dynamic import Dynamic
from bmc.compress.quantize.fp16 import Fp16
from bmc.compress.quantize.qat import Qat
from bmc.compress.quantize.static import Static
from bmc.compress.quantize.weights import Weights
from bmc.compress.share.cluster import Cluster
from bmc.compress.share.layers import Layers
from bmc.compress.share.tie import Tie
from bmc.contracts import families
from bmc.data import Dataset
from bmc.export.dialects.onnx import DIALECT as ONNX
from bmc.export.lowering import lower_file
from bmc.export.onnx_graph import write_onnx
from bmc.inference.form import inference_form, is_quantized
from bmc.inference.layers import quantizable_layers, unshared
from bmc.inference.quantized_form import stored_bytes
from bmc.inference.quantizers import LearnedActivationQuantizer
from bmc.inspect.zeros import share_of_zeros
from bmc.model import AppliedStep, Model, Step, Work, output_of
from bmc.models import cnn, gan, mlp, transformer
from bmc.precision import precision_of
from bmc.training.settings import TrainingSettings
from bmc.training.work import last_layer, work_for
from tests._small_bert import lively_model
from tests._vnni import WEIGHT_BITS
from tests.compress.conftest import wrapped
from tests.models.test_mpnet import small as small_mpnet

QUICK = TrainingSettings(epochs=1, precision="fp32", device="cpu")
LAYERS = ("share/layers", Layers())
CODEBOOKS = ("share/cluster", Cluster())
QUERIES = ("share/cluster", Cluster(layers=("*.query",)))
METHODS: dict[str, Any] = {
    "static": Static(samples=16, weight_bits=WEIGHT_BITS),
    "dynamic": Dynamic(samples=16, weight_bits=WEIGHT_BITS),
    "weights": Weights(bits=4, samples=16),
    "fp16": Fp16(samples=8),
}


@pytest.fixture
def reviews_work(reviews: Dataset, tmp_path: Path) -> Work:
    return work_on(reviews, tmp_path)


def work_on(data: Dataset, folder: Path, settings: TrainingSettings = QUICK) -> Work:
    return work_for(
        data, (), settings, folder, folder, lambda name: artifact.load(Path(name)), run=""
    )


def taken(model: Model, method: str, step: Step, work: Work) -> None:
    """Apply a step and note it, as a command does."""
    record = step.apply(model, work)
    model.steps.append(AppliedStep(method, {}, record, 0, 0.0))


def largest_error(model: Model, folder: Path, opset: int = 21) -> float:
    """Return how far ONNX Runtime's answers to the probes lie from PyTorch's, of the largest."""
    write_onnx(model, folder / "model.onnx", opset)
    lower_file(folder / "model.onnx", folder / "lowered.onnx", ONNX, 23)
    session = onnxruntime.InferenceSession(folder / "lowered.onnx")
    errors, largest = [], 1.0
    for arrays in model.encoder.probes(4):
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
            expected = output_of(model.module.eval(), inputs).numpy()
        errors.append(np.abs(session.run(None, arrays)[0] - expected).max())
        largest = max(largest, float(np.abs(expected).max()))
    return float(max(errors)) / largest


@pytest.mark.parametrize(
    ("before", "layers"),
    [(LAYERS, 2), (CODEBOOKS, 1), (QUERIES, 1)],
    ids=["layers", "all", "queries"],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_shared_bert_is_quantized_reloaded_and_exported(
    before: tuple[str, Any],
    layers: int,
    method: str,
    make_lively: Callable[..., Model],
    reviews_work: Work,
    tmp_path: Path,
) -> None:
    model = make_lively(layers=layers)
    taken(model, *before, reviews_work)
    taken(model, f"quantize/{method}", METHODS[method], reviews_work)
    loaded = artifact.load(artifact.save(model, tmp_path / "model"))
    assert largest_error(loaded, tmp_path) < 0.1


@pytest.mark.parametrize("method", ["static", "weights", "fp16"])
def test_a_bert_of_sentence_pairs_is_quantized_and_exported(
    method: str, make_lively: Callable[..., Model], reviews: Dataset, tmp_path: Path
) -> None:
    rows = [(*row, *row) for row in reviews.train.rows]
    pairs = replace(reviews, columns=("a", "b"), train=replace(reviews.train, rows=rows))
    model = make_lively(columns=2, layers=1)
    taken(model, f"quantize/{method}", METHODS[method], work_on(pairs, tmp_path))
    assert largest_error(model, tmp_path) < 0.1


def test_every_layer_of_a_record_is_quantized_in_pytorch(
    make_lively: Callable[..., Model], reviews: Dataset, tmp_path: Path
) -> None:
    pairs = replace(reviews, columns=("a", "b"))
    rows = [(*row, *row) for row in reviews.train.rows]
    pairs = replace(pairs, train=replace(reviews.train, rows=rows))
    model = make_lively(columns=2)
    taken(model, "quantize/weights", Weights(), work_on(pairs, tmp_path))
    arrays = max(model.encoder.probes(4), key=lambda item: item["input_ids"].size)
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    expected = output_of(model.module, inputs)
    for path in model.steps[-1].record:
        layer: Any = model.module.get_submodule(path)
        layer.enabled = False
        assert not torch.equal(output_of(model.module, inputs), expected), path
        layer.enabled = True


def test_a_shared_layers_4_bits_are_stored_as_4_bits(
    make_lively: Callable[..., Model], reviews_work: Work, tmp_path: Path
) -> None:
    model = make_lively()
    taken(model, "share/layers", Layers(what="feed-forward"), reviews_work)
    taken(model, "quantize/weights", METHODS["weights"], reviews_work)
    write_onnx(model, tmp_path / "model.onnx", 21)
    initializers = onnx.load(tmp_path / "model.onnx").graph.initializer
    kinds = {tensor.data_type for tensor in initializers if tensor.name.endswith(".integers")}
    assert kinds == {onnx.TensorProto.INT4}


def test_a_channel_without_weights_keeps_its_bias_in_onnx_runtime(
    digits: Dataset, work: Work, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = mlp.baseline("mlp", digits, mlp.Settings(width=32))
    with torch.no_grad():
        model.module.get_parameter("hidden.0.weight")[3] = 0
        model.module.get_parameter("hidden.0.bias")[3] = 5
    taken(model, "quantize/static", Static(samples=32, weight_bits=WEIGHT_BITS), work)
    assert largest_error(model, tmp_path) < 1e-4


def test_zeros_stay_where_training_goes_on_in_8_bits(
    make_lively: Callable[..., Model], reviews_work: Work
) -> None:
    model = make_lively()
    taken(model, "prune/unstructured", Unstructured(ratio=0.8), reviews_work)
    taken(model, "quantize/qat", Qat(samples=8, weight_bits=WEIGHT_BITS), reviews_work)
    layers = model.module.get_submodule("layers")
    before = share_of_zeros(layers)
    reviews_work.fit(model)
    assert before > 0.7
    assert share_of_zeros(layers) == pytest.approx(before, abs=0.01)


def test_a_regression_is_trained_on_in_8_bits(tmp_path: Path) -> None:
    digits = datasets.load("digits")
    numbers = [
        replace(part, labels=[100.0 + label for label in part.labels])
        for part in (digits.train, digits.validation)
    ]
    data = replace(digits, task="regression", labels=(), train=numbers[0], validation=numbers[1])
    work = work_on(data, tmp_path)
    torch.manual_seed(0)
    model = mlp.baseline("mlp", data, mlp.Settings(width=32))
    work.fit(model, epochs=3, name="float")
    before = work.score(model)
    taken(model, "quantize/qat", Qat(samples=64, weight_bits=WEIGHT_BITS), work)
    work.fit(model, name="tuning")
    assert work.score(model) > before - 0.05
    assert largest_error(model, tmp_path) < 0.01


@pytest.mark.parametrize("family", ["bert", "mlp", "mpnet", "recurrent", "transformer"])
def test_training_in_8_bits_knows_a_regressions_last_layer(
    family: str, reviews: Dataset, digits: Dataset, tmp_path: Path
) -> None:
    module = families.network(family)
    data = reviews if "text" in families.family(family).takes else digits
    model = (
        small_mpnet()
        if family == "mpnet"
        else lively_model()
        if family == "bert"
        else module.baseline(
            next(iter(families.family(family).baselines)), data, families.family(family).settings()
        )
    )
    taken(model, "quantize/qat", Qat(samples=8, weight_bits=WEIGHT_BITS), work_on(data, tmp_path))
    with torch.no_grad():
        before = output_of(model.module.eval(), *_probe(model))
        last_layer(model, module).bias.add_(5)
        after = output_of(model.module, *_probe(model))
    torch.testing.assert_close(after, before + 5)


def test_a_transformers_form_holds_its_layers_once(reviews: Dataset) -> None:
    torch.manual_seed(0)
    model = transformer.baseline("transformer", reviews, transformer.Settings(hidden=32))
    form = inference_form(model)
    held = [
        sum(parameter.numel() for parameter in part.parameters()) for part in (model.module, form)
    ]
    assert held[0] == held[1]
    linears = {path for path, part in form.named_modules() if type(part) is nn.Linear}
    assert len(linears) == 4 * transformer.Settings().layers + 1
    assert unshared(form, quantizable_layers(form)).keys() == linears


def test_a_model_of_short_texts_is_quantized_and_exported(
    reviews: Dataset, reviews_csv: Path, tmp_path: Path, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    torch.manual_seed(0)
    sizes = transformer.Settings(layers=1, hidden=32, max_length=6)
    model = transformer.baseline("transformer", reviews, sizes)
    taken(
        model,
        "quantize/static",
        Static(samples=8, weight_bits=WEIGHT_BITS),
        work_on(reviews, tmp_path),
    )
    model.data = {
        "reference": str(reviews_csv),
        "text_columns": ["text"],
        "label_column": "label",
        "fingerprint": reviews.fingerprint,
    }
    folder = artifact.save(model, tmp_path / "runs" / "short")
    code, _, err = bmc("export", folder, "--target", "onnx,pytorch", "--allow-slower")
    assert code == 0, err
    for target in ("onnx", "pytorch"):
        assert bmc("check", f"short-{target}")[0] == 0
    options = ("--threads", "1", "--launches", "2", "--rounds", "2")
    code, text, err = bmc("bench", "short-onnx", *options)
    assert code == 0, err
    assert "short-onnx was measured with 6 tokens" in text


class _ReadPast(nn.Module):
    """Reads a layer's weight without calling it, as some of timm's attentions do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.past = nn.Linear(16, 16, bias=False)
        self.never = nn.Linear(16, 16)
        self.last = nn.Linear(16, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = self.first(pixels.flatten(1))
        outputs: torch.Tensor = self.last(nn.functional.linear(hidden, self.past.weight).relu())
        return outputs


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_is_not_called_stays_in_float(
    method: str, digits: Dataset, work: Work, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = wrapped(_ReadPast(), digits)
    taken(model, f"quantize/{method}", METHODS[method], work)
    if method != "fp16":
        assert set(model.steps[-1].record) == {"network.first", "network.last"}
    assert largest_error(model, tmp_path) < 0.01


def test_a_generator_is_trained_on_in_8_bits(digits: Dataset, tmp_path: Path) -> None:
    adam = replace(QUICK, optimizer="adam", learning_rate=2e-4)
    work = work_on(digits, tmp_path, adam)
    torch.manual_seed(0)
    model = gan.baseline("gan", digits, gan.Settings())
    taken(model, "quantize/qat", Qat(samples=32, weight_bits=WEIGHT_BITS), work)
    before = [value.detach().clone() for value in model.module.parameters()]
    work.fit(model)
    assert any(
        not torch.equal(*pair) for pair in zip(before, model.module.parameters(), strict=True)
    )
    assert largest_error(model, tmp_path) < 0.05


def test_a_learned_scale_never_goes_below_zero(digits: Dataset, work: Work) -> None:
    torch.manual_seed(0)
    model = mlp.baseline("mlp", digits, mlp.Settings(width=16))
    taken(model, "quantize/qat", Qat(samples=32, weight_bits=WEIGHT_BITS), work)
    quantizers = [
        part for part in model.module.modules() if isinstance(part, LearnedActivationQuantizer)
    ]
    with torch.no_grad():
        for quantizer in quantizers:
            quantizer.scale.fill_(-1.0)
    Qat.keep(model, model.steps[-1].record)(model.module, 0.5)
    assert all(float(quantizer.scale) > 0 for quantizer in quantizers)


@pytest.mark.parametrize("record", [{}, {"hidden.0": {"bits": 0, "group": 0, "inputs": "float"}}])
def test_a_record_that_quantizes_nothing_leaves_a_form_that_answers(
    record: dict[str, Any], digits: Dataset
) -> None:
    model = mlp.baseline("mlp", digits, mlp.Settings(width=16))
    Static.rebuild(model, record)
    model.steps.append(AppliedStep("quantize/static", {}, record, 0, 0.0))
    assert precision_of(model) == "fp32"
    assert is_quantized(model.module)
    assert inference_form(model) is model.module


def test_weights_of_7_bits_are_called_8_as_they_are_stored(digits: Dataset) -> None:
    model = mlp.baseline("mlp", digits, mlp.Settings(width=16))
    record = {"hidden.0": {"bits": 7, "group": 0, "inputs": "float"}}
    model.steps.append(AppliedStep("quantize/static", {}, record, 0, 0.0))
    assert precision_of(model) == "int8-weights"


def test_a_weight_that_a_layer_in_float_uses_too_stays_in_32_bits(
    make_lively: Callable[..., Model], reviews_work: Work
) -> None:
    model = make_lively()
    dense = "bert.encoder.layer.{}.attention.output.dense.weight"
    taken(model, "share/tie", Tie((f"{dense.format(0)}:{dense.format(1)}",)), reviews_work)
    expected = output_of(model.module, *_probe(model))
    step = Fp16(samples=8, in_float=("layers.1.project",))
    taken(model, "quantize/fp16", step, reviews_work)
    result = output_of(model.module, *_probe(model))
    torch.testing.assert_close(result, expected, atol=0.02, rtol=0.02)


def _probe(model: Model) -> tuple[dict[str, torch.Tensor]]:
    arrays = next(iter(model.encoder.probes(4)))
    return ({name: torch.from_numpy(array) for name, array in arrays.items()},)


def test_a_clustered_networks_size_counts_its_indices(digits: Dataset, work: Work) -> None:
    model = cnn.baseline("cnn", digits, cnn.Settings())
    taken(model, "share/cluster", Cluster(), work)
    indices = sum(b.nbytes for name, b in model.module.named_buffers() if "indices" in name)
    taken(model, "quantize/static", Static(samples=16, weight_bits=WEIGHT_BITS), work)
    assert stored_bytes(model.module) >= indices > 0


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.last = nn.Linear(16, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(self.layer(self.first(pixels.flatten(1, 2))).mean(dim=1))
        return outputs


def test_pytorchs_fused_attention_does_not_pass_quantized_layers_by(
    digits: Dataset, work: Work
) -> None:
    torch.manual_seed(0)
    model = wrapped(_Transformer(), digits)
    taken(model, "quantize/static", Static(samples=16, weight_bits=WEIGHT_BITS), work)
    read = []
    layer = model.module.get_submodule("network.layer.linear1")
    layer.register_forward_hook(lambda *_: read.append(1))
    with torch.inference_mode():
        output_of(model.module, *_probe(model))
    assert read
