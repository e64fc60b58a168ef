"""Export: bundles answer as PyTorch does, at every shape, and one that does not is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from bmc import artifact, bundle, targets
from bmc import workspace as workspaces
from bmc.bundle import Bundle
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset
from bmc.errors import DataError, GateError
from bmc.export import ExportOptions, flow, parity
from bmc.export.onnx_graph import write_onnx
from bmc.export.source import source_of
from bmc.files import sha256
from bmc.inputs import Many
from bmc.inputs.text import TextEncoder
from bmc.model import AppliedStep, Model
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests.cli._refusals import refused

Run = Callable[..., tuple[int, str, str]]
FILES = {
    "onnx": {"model.onnx"},
    "openvino": {"model.xml", "model.bin"},
    "pytorch": {f"model/{name}" for name in ("bmc.json", "config.json", "model.safetensors")}
    | {"model/tokenizer.json", "model/tokenizer_config.json"},
}
PROOFS = {"manifest.json", "tokenizer.json", "golden.npz", "golden.json", "evaluation.npz"}
PROOFS |= {"README.md"}


def reference(folder: Path, rows: Many) -> NDArray[np.float32]:
    """Return the logits of a model directory in PyTorch, row by row: no padding, no batches."""
    model = artifact.load(folder)
    encoder = model.encoder
    results = []
    encoded = encoder.encode(rows)
    for index in range(len(encoded)):
        arrays = encoder.batch(encoded, [index])
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode():
            results.append(model.module(**inputs).logits[0].numpy())
    return np.stack(results)


def some_inputs(columns: int, rows: int, length: int) -> dict[str, NDArray[np.int64]]:
    """Return token ids, padding in every row but the first, and types of both kinds for pairs."""
    generator = np.random.default_rng(rows * 100 + length)
    ids = generator.integers(0, 30522, (rows, length))
    mask = np.ones_like(ids)
    mask[1:, 1 + length // 2 :] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if columns == 2:
        inputs["token_type_ids"] = (np.arange(length) > length // 3) * np.ones_like(ids)
    return inputs


def module_logits(model: Model, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        logits: NDArray[np.float32] = model.module(**tensors).logits.numpy()
    return logits


# answers


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_a_bundle_answers_real_text_as_pytorch_does(
    target: str, lively_folder: Path, lively_bundle: Callable[[str], Bundle], reviews: Dataset
) -> None:
    expected = reference(lively_folder, reviews.test.rows)
    with Pipeline(lively_bundle(target), RuntimeOptions()) as classifier:
        result = classifier.outputs(reviews.test.rows)
    assert expected.std() > 0.1
    np.testing.assert_allclose(result, expected, atol=5e-5)


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (7, 5), (2, 64), (33, 9)])
def test_batch_and_sequence_are_dynamic_beyond_the_shapes_of_the_trace(
    target: str,
    rows: int,
    length: int,
    lively_folder: Path,
    lively_bundle: Callable[[str], Bundle],
) -> None:
    inputs = some_inputs(1, rows, length)
    created = lively_bundle(target)
    with targets.load(target).load(created, RuntimeOptions()) as session:
        result = session.run(inputs)["logits"]
    assert result.shape == (rows, 2)
    np.testing.assert_allclose(
        result, module_logits(artifact.load(lively_folder), inputs), atol=5e-5
    )


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_scores_are_those_of_the_bundles_own_answers(
    target: str, lively_bundle: Callable[[str], Bundle], reviews: Dataset
) -> None:
    created = lively_bundle(target)
    kept = bundle.read_arrays(created.path / bundle.EVALUATION)
    right = kept["logits"].argmax(axis=1) == np.array(reviews.test.labels)
    assert created.manifest.scores["accuracy"]["value"] == pytest.approx(right.mean())
    assert created.manifest.scores["rows"] == len(reviews.test)
    assert created.manifest.parity["agreement"] == 1
    assert created.manifest.parity["rows"] == len(reviews.test)
    assert 0 <= created.manifest.parity["max_error"] < 1e-4
    assert created.manifest.parity["cosine"] == pytest.approx(1, abs=1e-6)
    assert 0 <= created.manifest.parity["max_error_other_shapes"] < 1e-4


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_golden_outputs_come_again(target: str, lively_bundle: Callable[[str], Bundle]) -> None:
    created = lively_bundle(target)
    inputs, expected = created.golden()
    with targets.load(target).load(created, RuntimeOptions()) as session:
        result = session.run(inputs)
    np.testing.assert_allclose(result["logits"], expected["logits"], atol=1e-5)


def test_a_bundle_says_which_model_it_came_from(
    lively_folder: Path, lively_bundle: Callable[[str], Bundle], reviews: Dataset
) -> None:
    lineage = lively_bundle("onnx").manifest.lineage
    assert lineage["model"] == lively_folder.name
    assert lineage["weights_sha256"] == sha256(lively_folder / "model.safetensors")
    assert lineage["data"]["fingerprint"] == reviews.fingerprint


# what is in the files


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_a_bundle_holds_the_known_files_alone(
    target: str, lively_bundle: Callable[[str], Bundle]
) -> None:
    path = lively_bundle(target).path
    result = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert result == FILES[target] | PROOFS


def initializer_numbers(path: Path) -> int:
    tensors = onnx.load(path).graph.initializer
    return sum(int(np.prod(tensor.dims)) for tensor in tensors if tensor.data_type == 1)


def test_the_onnx_graph_is_clean(lively_bundle: Callable[[str], Bundle]) -> None:
    created = lively_bundle("onnx")
    graph = onnx.load(created.model_path)
    onnx.checker.check_model(graph)
    counts = Counter(node.op_type for node in graph.graph.node)
    assert counts["MatMul"] + counts["Gemm"] > 0
    assert counts["IsNaN"] == counts["Where"] == 0
    assert counts["Shape"] <= 2
    assert counts["Attention"] == 2
    assert counts["Softmax"] == 0
    assert dict(counts) == created.manifest.build["nodes"]
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx"}
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*graph.graph.input, *graph.graph.output]
    }
    assert shapes == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "sequence"],
        "logits": ["batch", 2],
    }


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_model_files_tell_nothing_of_the_machine_that_made_them(
    target: str, lively_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    created = lively_bundle(target)
    repository, home = str(Path(__file__).parents[2]), str(Path.home())
    secrets = ["site-packages", repository, home + "/", str(tmp_path.parent), "bmc-export-"]
    secrets += [".py", "Traceback", "torch.nn", 'File "']
    for name in FILES[target] - {"model.bin"}:  # that file is raw numbers
        content = (created.path / name).read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, f"{name} holds {secret!r}"


@pytest.mark.parametrize(("target", "opset"), [("onnx", 23), ("tensorrt", 18)])
def test_the_opset_is_18_by_default_and_for_onnx_runtime_the_one_that_has_attention(
    target: str, opset: int, lively_bundle: Callable[[str], Bundle]
) -> None:
    created = lively_bundle(target)
    assert created.manifest.build["opset"] == opset
    file = onnx.load(created.path / "model.onnx")
    assert [entry.version for entry in file.opset_import] == [opset]
    assert any(node.op_type == "Attention" for node in file.graph.node) == (opset == 23)


def test_another_opset_is_written_and_answers_the_same(
    bmc: Run, lively_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "twenty"
    code, _, err = bmc("export", lively_folder, "--target", "onnx", "--opset", 20, "-o", output)
    assert code == 0, err
    assert [entry.version for entry in onnx.load(output / "model.onnx").opset_import] == [20]
    assert bundle.read(output).manifest.parity["agreement"] == 1


@pytest.mark.parametrize("opset", [7, 17, 24])
def test_an_opset_out_of_range_is_refused(
    bmc: Run, lively_folder: Path, opset: int, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    options = ["--target", "onnx", "--opset", opset, "-o", output]
    code, _, err = bmc("export", lively_folder, *options)
    assert code == 2
    assert err == f"bmc: opset is {opset}; it must lie in 18..23\n"
    assert not output.exists()


def test_a_shared_layer_is_stored_once_in_the_onnx_file(
    make_lively: Callable[..., Model], lively_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    model = make_lively()
    encoder: Any = model.module.get_submodule("bert.encoder")
    encoder.layer = nn.ModuleList([encoder.layer[0], encoder.layer[0]])
    a_layer = sum(value.numel() for value in encoder.layer[0].parameters())
    write_onnx(model, tmp_path / "shared.onnx", 18)
    whole = initializer_numbers(lively_bundle("onnx").model_path)
    assert whole - initializer_numbers(tmp_path / "shared.onnx") == pytest.approx(a_layer, abs=64)


# compressed models, pairs


def test_a_lowrank_model_exports_with_parity(
    bmc: Run,
    make_lively: Callable[..., Model],
    reviews: Dataset,
    reviews_csv: Path,
    workspace: Path,
    tmp_path: Path,
) -> None:
    model, step = make_lively(layers=1), LowRank(energy=0.5)
    settings = TrainingSettings(device="cpu")
    work = work_for(reviews, (), settings, tmp_path, tmp_path, lambda _: model, run="")
    record = step.apply(model, work)
    model.steps = [AppliedStep("share/lowrank", asdict(step), record, 0, 0.0)]
    model.data = {"reference": str(reviews_csv), "text_columns": ["text"]}
    model.data["fingerprint"] = reviews.fingerprint
    folder = artifact.save(model, workspace / "thin")
    code, _, err = bmc("export", "--target", "onnx,openvino", "--quiet")
    assert code == 0, err
    expected = reference(folder, reviews.test.rows)
    for target in ("onnx", "openvino"):
        exported_bundle = bundle.read(workspace / f"thin-{target}")
        assert exported_bundle.manifest.lineage["steps"] == ["share/lowrank"]
        with Pipeline(exported_bundle, RuntimeOptions()) as classifier:
            result = classifier.outputs(reviews.test.rows)
        np.testing.assert_allclose(result, expected, atol=5e-5)


@pytest.fixture
def pairs_csv(reviews_csv: Path, tmp_path: Path) -> Path:
    """Return a table of pairs of reviews, whose label is whether both are of one class."""
    with reviews_csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path = tmp_path / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["first", "second", "alike"])
        for index, row in enumerate(rows[:160]):
            other = rows[(index + 1 + index // 2 % 2) % len(rows)]
            alike = "yes" if row["label"] == other["label"] else "no"
            writer.writerow([row["text"], other["text"], alike])
    return path


def test_sentence_pairs_go_from_training_to_bundles_with_their_token_types(
    bmc: Run, hf_folder: Path, pairs_csv: Path, workspace: Path
) -> None:
    columns = ["--text-column", "first", "--text-column", "second", "--label-column", "alike"]
    options = ["--epochs", 1, "--max-length", 64, "--precision", "fp32", "--device", "cpu"]
    code, _, err = bmc("train", hf_folder, "--data", pairs_csv, *columns, *options)
    assert code == 0, err
    code, out, err = bmc("export", "--target", "onnx", "--target", "openvino")
    assert code == 0, err
    assert "--pair 'a fine one'" in out
    folder = workspaces.newest("model")
    model = artifact.load(folder)
    assert model.encoder.to_json()["columns"] == 2
    assert model.labels == ("no", "yes")
    rows = (("a fine film", "and dull"), ("it is", "a long second text of many words, this one"))
    expected = reference(folder, rows)
    for target in ("onnx", "openvino"):
        exported_bundle = bundle.read(workspace / f"{folder.name}-{target}")
        names = [info.name for info in exported_bundle.manifest.inputs]
        assert names == ["input_ids", "attention_mask", "token_type_ids"]
        with Pipeline(exported_bundle, RuntimeOptions()) as classifier:
            np.testing.assert_allclose(classifier.outputs(rows), expected, atol=5e-5)
            with pytest.raises(DataError, match="takes 2 text"):
                classifier("one text alone")
            swapped = classifier.outputs([row[::-1] for row in rows])
            assert np.abs(swapped - expected).max() > 0.01
            inputs = some_inputs(2, rows=5, length=11)
            result = classifier.session.run(inputs)["logits"]
            np.testing.assert_allclose(result, module_logits(model, inputs), atol=5e-5)
            one_type = {**inputs, "token_type_ids": np.zeros_like(inputs["input_ids"])}
            assert np.abs(classifier.session.run(one_type)["logits"] - result).max() > 0.01
        err = bmc("predict", exported_bundle.path, "a fine film", "--pair", "and dull", "--json")[1]
        content = json.loads(err)["answers"][0]
        assert content["label"] == model.labels[int(expected[0].argmax())]
        refused(
            bmc("predict", exported_bundle.path, "a fine film"), "pairs of texts", "--pair SECOND"
        )


# gates


def test_answers_within_the_limits_pass() -> None:
    labels = np.array([0, 1] * 500)
    logits = np.where(labels[:, None] == [0, 1], 4.0, -4.0).astype(np.float32)
    parity.check(parity.compare(logits + 0.003, logits, labels), "fp32", scale=4.0)


def far(logits: NDArray[np.float32]) -> None:
    logits[7] += 0.005


def lost(logits: NDArray[np.float32]) -> None:
    logits[7] = np.nan


def infinite(logits: NDArray[np.float32]) -> None:
    logits[7, 0] = np.inf


def undecided(logits: NDArray[np.float32]) -> None:
    """Turn ten answers of a thousand that were near to even."""
    logits[:10] = logits[:10, ::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (far, "outputs change by up to 0.005; allowed is 0.004"),
        (lost, "outputs NaN"),
        (infinite, "outputs NaN"),
        (undecided, "only 99.00% of rows get the same prediction"),
    ],
)
def test_answers_out_of_limits_are_refused_with_the_value(
    change: Callable[[NDArray[np.float32]], None], message: str
) -> None:
    labels = np.array([0, 1] * 500)
    logits = np.where(labels[:, None] == [0, 1], 4.0, -4.0).astype(np.float32)
    logits[:10] /= 4e4
    changed = logits.copy()
    change(changed)
    with np.errstate(invalid="ignore"):
        measured = parity.compare(changed, logits, labels)
    with pytest.raises(GateError, match=message):
        parity.check(measured, "fp32", scale=4.0)


def test_the_share_of_common_labels_is_no_share_of_rows() -> None:
    logits = np.where(np.eye(4)[np.arange(400) % 4], 4.0, -4.0).astype(np.float32)
    changed = logits.copy()
    changed[:80, 0], logits[:80, 0] = 1e-4, -1e-4
    measured = parity.compare(changed, logits, (logits > 0).astype(int), "multilabel")
    with pytest.raises(GateError, match=r"only [\d.]+% of labels of a row are predicted alike"):
        parity.check(measured, "fp32", scale=4.0, task="multilabel")


def test_a_row_of_a_quantized_classifier_may_jump_and_nothing_else_may() -> None:
    jumped = parity.Parity(1_000, 3.0, 0.1, 1.0, 0.999, 0.1)
    parity.check(jumped, "int8", scale=2.0, probe_error=0.9)
    with pytest.raises(GateError, match=r"up to 1\.1; allowed is 1"):
        parity.check(jumped, "int8", scale=2.0, probe_error=1.1)
    with pytest.raises(GateError, match="up to 3; allowed is 1"):
        parity.check(replace(jumped, agreement=None), "int8", scale=2.0)
    with pytest.raises(GateError, match="NaN"):
        parity.check(jumped, "int8", scale=2.0, probe_error=float("nan"))


def numbers(level: float, spread: float) -> NDArray[np.float32]:
    drawn = np.random.default_rng(0).normal(level, spread, (400, 1))
    return drawn.astype(np.float32)


@pytest.mark.parametrize(("level", "spread"), [(0.0, 2e-4), (2000.0, 10.0), (-3.0, 1.0)])
def test_numbers_may_change_by_a_share_of_their_spread_whatever_their_unit(
    level: float, spread: float
) -> None:
    reference = numbers(level, spread)
    scale = parity.scale_of(reference, "regression")
    assert scale == pytest.approx(spread, rel=0.1)
    near = reference * np.float32(1 + 1e-7)
    result = parity.compare(near, reference, reference[:, 0], "regression")
    parity.check(result, "fp32", scale)
    for far in (np.full_like(reference, level), reference + np.float32(0.2 * spread)):
        result = parity.compare(far, reference, reference[:, 0], "regression")
        for precision in ("fp32", "int8"):
            with pytest.raises(GateError, match=r"outputs change by|R2 changes by"):
                parity.check(result, precision, scale, task="regression")


def test_a_level_that_32_bits_can_hardly_hold_is_no_error() -> None:
    reference = numbers(1e6, 1.0)
    result = parity.compare(reference + np.float32(0.5), reference, reference[:, 0], "regression")
    with pytest.raises(GateError, match="R2 changes by"):
        parity.check(result, "fp32", parity.scale_of(reference, "regression"), task="regression")
    assert parity.scale_of(reference, "regression") == pytest.approx(2000, rel=0.01)
    assert parity.scale_of(np.zeros((4, 1), np.float32), "regression") == 1
    assert parity.scale_of(np.zeros((4, 2), np.float32), "classification") == 1


def test_r2_is_no_gate_where_labels_are_alike_or_the_model_is_worse_than_their_mean() -> None:
    reference = numbers(0.0, 1.0)
    near = reference + np.float32(1e-4)
    same = np.zeros(len(reference))
    assert parity.compare(near, reference, same, "regression").points_changed is None
    biased = reference[:, 0] + 30.0
    result = parity.compare(near, reference, biased, "regression")
    assert result.points_changed == pytest.approx(0.0, abs=0.01)
    parity.check(result, "fp32", parity.scale_of(reference, "regression"))


def test_a_changed_accuracy_is_refused_though_most_answers_agree() -> None:
    measured = parity.Parity(10_000, 1e-6, 1e-6, 1.0, 0.9985, -0.21)
    with pytest.raises(GateError, match=r"accuracy changes by -0.21 points"):
        parity.check(measured, "fp32", scale=4.0)


def test_a_bundle_that_disagrees_with_its_model_is_kept_as_failed_and_never_the_newest(
    lively_folder: Path, reviews: Dataset, workspace: Path
) -> None:
    """The weights change between PyTorch's answers and the export, as a broken exporter does it."""
    output = workspace / "lively-onnx"
    with source_of(lively_folder, reviews, ExportOptions()) as source:
        good = flow.export(source, "pytorch", workspace / "lively-pytorch", force=False)
    with source_of(lively_folder, reviews, ExportOptions()) as source:
        assert len(source.reference) == len(reviews.test)
        with torch.no_grad():
            source.model.module.get_parameter("classifier.bias")[0] += 0.5
        with pytest.raises(GateError, match=r"outputs change by up to 0\.5") as caught:
            flow.export(source, "onnx", output, force=False)
    failed = workspace / "lively-onnx.failed"
    assert caught.value.exit_code == 1
    assert str(failed) in str(caught.value)
    assert not output.exists()
    manifest = bundle.read(failed).manifest
    assert "outputs change" in str(manifest.failure)
    assert manifest.parity["max_error"] == pytest.approx(0.5, abs=0.01)
    assert manifest.scores == {}
    assert workspaces.newest("bundle") == good.path
    assert workspaces.entries("bundle") == [good.path]
    assert workspaces.entries("bundle", failed=True) == [failed]
    assert [path.name for path in workspace.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("where", ["classifier.bias", "last position"])
def test_an_export_that_answers_nan_exits_1_and_is_kept_as_failed(
    bmc: Run,
    where: str,
    make_lively: Callable[..., Model],
    reviews: Dataset,
    reviews_csv: Path,
    workspace: Path,
) -> None:
    """The last position is read by rows of the greatest length alone: no real row has that."""
    model = make_lively()
    short = model.encoder
    assert isinstance(short, TextEncoder)
    encoder = TextEncoder(short.tokenizer, dataclasses.replace(short.settings, max_length=128))
    model.encoder = encoder
    most = encoder.longest()["sequence"]
    assert max(encoder.lengths(encoder.encode(reviews.test.rows))) < most
    table = "bert.embeddings.position_embeddings.weight"
    with torch.no_grad():
        if where == "last position":
            model.module.get_parameter(table)[most - 1] = torch.nan
        else:
            model.module.get_parameter(where)[0] = torch.nan
    model.data = {"reference": str(reviews_csv), "text_columns": ["text"]}
    model.data["fingerprint"] = reviews.fingerprint
    artifact.save(model, workspace / "broken")
    code, out, err = bmc("export", "broken", "--target", "pytorch", "--quiet")
    assert code == 1, err
    assert out == ""
    own = where != "last position"
    assert ("the model itself outputs NaN or infinity in PyTorch" in err) == own, err
    assert "NaN" in err
    assert "broken-pytorch.failed" in err
    assert not (workspace / "broken-pytorch").exists()
    assert (workspace / "broken-pytorch.failed").is_dir()
    assert workspaces.entries("bundle") == []


def test_a_failed_export_leaves_the_good_one_that_was_there(
    lively_folder: Path, reviews: Dataset, workspace: Path
) -> None:
    output = workspace / "lively-pytorch"
    with source_of(lively_folder, reviews, ExportOptions()) as source:
        good = flow.export(source, "pytorch", output, force=False)
        with torch.no_grad():
            source.model.module.get_parameter("classifier.bias")[0] += 0.5
        with pytest.raises(GateError):
            flow.export(source, "pytorch", output, force=True)
    assert bundle.read(output).manifest == good.manifest


def test_data_whose_content_changed_is_refused(
    bmc: Run, lively_folder: Path, reviews_csv: Path, workspace: Path, tmp_path: Path
) -> None:
    lines = reviews_csv.read_text(encoding="utf-8").splitlines()
    other = tmp_path / "reviews.csv"
    other.write_text("\n".join(lines[:-1]), encoding="utf-8")
    code, _, err = bmc("export", lively_folder, "--target", "onnx", "--data", other)
    assert code == 2
    assert "is not the data that" in err
    assert not workspace.exists() or list(workspace.iterdir()) == []


def test_the_same_model_exports_again_with_force_alone(
    bmc: Run, lively_folder: Path, workspace: Path
) -> None:
    arguments = ["export", lively_folder, "--target", "pytorch", "--quiet"]
    assert bmc(*arguments)[0] == 0
    code, _, err = bmc(*arguments)
    assert code == 2
    assert "--force" in err
    assert bmc(*arguments, "--force")[0] == 0
    assert [path.name for path in workspace.iterdir()] == ["lively-pytorch"]


def test_no_batch_is_larger_than_the_engine_was_built_for(
    lively_bundle: Callable[[str], Bundle], reviews: Dataset
) -> None:
    created = lively_bundle("onnx")
    limited = dataclasses.replace(created.manifest, build={"max_batch": 3})
    sizes: list[int] = []
    with Pipeline(Bundle(created.path, limited), RuntimeOptions()) as classifier:
        classifier.outputs(reviews.test.rows[:10], 32, sizes.append)
    assert sizes == [3, 3, 3, 1]
