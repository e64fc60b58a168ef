"""The verbs on an ONNX file of another tool: inspected, exported, or refused with the way out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image

import bmc as library
from bmc.errors import GateError
from bmc.export import speed
from bmc.measure.scores import Interval
from tests._onnx import cnn, images, save
from tests.cli._refusals import Run, refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "net"
    folder.mkdir()
    np.savez(tmp_path / "rows.npz", image=images(8))
    return cnn(folder / "model.onnx")


@pytest.fixture
def rows(file: Path) -> Path:
    return file.parent.parent / "rows.npz"


def test_inspect_shows_what_a_file_takes_and_costs(bmc: Run, file: Path) -> None:
    code, out, _ = bmc("inspect", file)
    assert code == 0
    for words in ("block/conv:0", "Conv 2", "image float32 (N, 3, 16, 16)", "1,125 parameters"):
        assert words in out
    document = json.loads(bmc("inspect", file.parent, "--json")[1])
    assert document["costs"]["macs"] == 258128
    assert document["precision"] == "fp32"


def test_a_file_goes_from_export_to_report(
    bmc: Run, file: Path, rows: Path, workspace: Path
) -> None:
    code, out, err = bmc("export", file, "--target", "onnx,openvino", "--samples", rows)
    assert code == 0, err
    assert "against model.onnx on 8 samples: 100.00% answered alike" in out
    assert (workspace / "net-onnx" / "model.onnx").is_file()
    code, out, _ = bmc("check", "net-openvino")
    assert (code, "right." in out) == (0, True)
    fast = ("--launches", "2", "--rounds", "2", "--threads", "1")
    assert bmc("bench", "net-onnx", "net-openvino", *fast)[0] == 0
    code, out, _ = bmc("report", "--no-bench")
    assert code == 0
    assert "net-onnx: against model.onnx on 8 samples: answers 100.00% alike" in out
    code, out, _ = bmc("show", "net-onnx")
    assert "for tensors" in out
    refused(bmc("predict", "net-onnx", "x"), "in Python", "'image': ARRAY")
    again = bmc("export", file, "--target", "onnx", "--samples", rows)
    refused(again, "exists", "--force")


def test_a_file_is_simplified_for_a_batch_and_an_opset(
    bmc: Run, file: Path, rows: Path, workspace: Path
) -> None:
    options = ("--target", "onnx", "--opset", "21", "--batch", "1", "--simplify")
    code, _, err = bmc("export", file, "--samples", rows, *options)
    assert code == 0, err
    manifest = json.loads((workspace / "net-onnx" / "manifest.json").read_text())
    assert manifest["inputs"][0]["shape"] == [1, 3, 16, 16]
    assert manifest["build"]["opset"] == 21
    again = bmc("export", file, "--samples", rows, "--target", "onnx", "--batch", "3", "--force")
    refused(again, "shape (8, 3, 16, 16)", "(3, 3, 16, 16)")
    refused(
        bmc("export", file, "--samples", rows, "--target", "onnx", "--batch", "0"), "batch is 0"
    )


def test_samples_are_typed_or_their_generation_is(bmc: Run, file: Path, workspace: Path) -> None:
    refused(bmc("export", file, "--target", "onnx"), "arrays of image", "--random-samples")
    code, out, err = bmc("export", file, "--target", "onnx", "--random-samples")
    assert code == 0
    assert "inputs are random" in err
    assert "16 samples" in out


def test_options_that_exclude_each_other_are_refused(bmc: Run, file: Path, rows: Path) -> None:
    both = ("--samples", rows, "--random-samples")
    refused(bmc("export", file, "--target", "onnx", *both), "exclude each other")
    refused(bmc("export", file, "--target", "onnx", "--data", rows), "--samples, not --data")
    refused(bmc("inspect", file, "--sensitivity"), "has no training data")


def test_samples_are_for_onnx_files_alone(bmc: Run, known: Path, rows: Path) -> None:
    result = bmc("export", "mlp", "--target", "onnx", "--samples", rows)
    refused(result, "are for ONNX files", "mlp is a model directory")


@pytest.mark.parametrize("verb", ["check", "bench", "show"])
def test_verbs_that_take_no_file_name_those_that_do(bmc: Run, file: Path, verb: str) -> None:
    refused(bmc(verb, file), "is an ONNX file, not a", "bmc export", "--samples ROWS.npz")


def test_a_damaged_file_is_refused(bmc: Run, file: Path, rows: Path) -> None:
    file.write_bytes(file.read_bytes()[:700])
    refused(bmc("export", file, "--target", "onnx", "--samples", rows), "model.onnx")
    refused(bmc("inspect", file), "model.onnx")
    refused(bmc("inspect", file.parent / "gone.onnx"), "no ONNX file")


def test_python_takes_arrays(file: Path, workspace: Path) -> None:
    model = library.open(file)
    assert isinstance(model, library.OnnxHandle)
    assert model.inspect().parameters == 1125
    assert model.predict({"image": images(2)})["class/logits:0"].shape == (2, 5)
    assert model.predict({"image": images(2).tolist()})["class/logits:0"].shape == (2, 5)
    with pytest.raises(library.BmcError, match=r"a row is a float, not arrays by .* takes image"):
        model.predict(1.0)
    with pytest.raises(library.BmcError, match=r"a row has the arrays picture; .* takes image"):
        model.predict({"picture": images(2)})
    bundle = model.to("onnx", samples={"image": images(4)})
    assert bundle.predict({"image": images(2)})["class/logits:0"].shape == (2, 5)
    assert "ONNX file model.onnx" in repr(model)
    with pytest.raises(library.BmcError, match="random_samples=True"):
        model.to("openvino")
    with pytest.raises(library.BmcError, match="is an ONNX file, not a model directory"):
        library.prune(file)


@pytest.mark.usefixtures("timed")
def test_quantize_writes_bundles_of_a_file(
    bmc: Run, file: Path, rows: Path, workspace: Path
) -> None:
    options = ("--samples", rows, "--min-agreement", "0.5", "--allow-slower")
    refused(bmc("quantize", file), "arrays of image", "--random-samples")
    code, out, err = bmc("quantize", file, *options)
    assert code == 0, err
    assert "net-int8-onnx" in out
    assert "times as fast as in fp32" in out
    refused(bmc("quantize", file, "--method", "qat", *options), "--method static alone")
    refused(bmc("quantize", file, "--epochs", "1", *options), "is not trained")
    refused(bmc("quantize", file, "--set", "a=1", *options), "takes no --set a=")
    refused(bmc("quantize", file, "--set", "weight_bits=6", *options), "7 and 8 are possible")
    again = bmc("quantize", workspace / "net-int8-onnx" / "model.onnx", "--samples", rows)
    refused(again, "is int8 already", "takes it as it is")


def test_labels_make_the_score_the_check(bmc: Run, file: Path, rows: Path, workspace: Path) -> None:
    labels = library.open(file).predict({"image": images(8)})["class/logits:0"].argmax(axis=1)
    np.savez(rows, image=images(8), labels=labels)
    options = ("--samples", rows, "--allow-slower")
    refused(bmc("quantize", file, "--max-drop", "1", *options), "--labels names their array")
    refused(bmc("quantize", file, "--labels", "kinds", *options), "no such array", "has labels")
    random = ("--random-samples", "--labels", "labels")
    refused(bmc("quantize", file, *random), "--labels needs the samples")
    code, out, err = bmc("quantize", file, "--labels", "labels", "--max-drop", "50", *options)
    assert code == 0, err
    assert "; accuracy " in out
    assert "of the file 1.00" in out
    manifest = json.loads((workspace / "net-int8-onnx" / "manifest.json").read_text())
    assert manifest["parity"]["score"]["original"]["value"] == 1
    assert manifest["scores"]["rows"] == 8
    assert "points of accuracy lost" in bmc("report", "--no-bench")[1]
    assert "on labeled samples: accuracy" in bmc("show", "net-int8-onnx")[1]


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    """Return a folder of 10 images in 5 classes."""
    for number in range(10):
        path = tmp_path / "pictures" / f"c{number % 5}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return f"imagefolder:{tmp_path / 'pictures'}"


@pytest.fixture
def _untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take 8 bits for twice as fast; timing is not what the test asks."""
    fast = speed.Speed(Interval(2.0, 1.9, 2.1), 1.0)
    monkeypatch.setattr(speed, "over", lambda quantized, folder: fast)


@pytest.mark.usefixtures("_untimed")
def test_every_verb_takes_folders_of_images(
    bmc: Run, file: Path, pictures: str, workspace: Path
) -> None:
    named = ("--samples", pictures)
    refused(bmc("quantize", file, *named), "--preprocess scale=1/255", "preprocessor_config.json")
    images = (*named, "--preprocess", "scale=1/255", "--preprocess", "mean=0.5", "--max-drop", "99")
    refused(bmc("quantize", file, *images, "--preprocess", "std"), "--preprocess 'std'; it must")
    refused(bmc("quantize", file, *images, "--labels", "x"), "the names of its class folders")
    code, out, err = bmc("quantize", file, *images, "--allow-slower")
    assert code == 0, err
    assert "0 c0, 1 c1, 2 c2, 3 c3, 4 c4" in err
    assert "; accuracy " in out
    manifest = json.loads((workspace / "net-int8-onnx" / "manifest.json").read_text())
    assert manifest["lineage"]["data"]["reference"] == pictures
    code, _, err = bmc("prune", file, "--method", "unstructured", "--ratio", "0.1", *images)
    assert code == 0, err
    code, out, err = bmc("export", file, "--target", "onnx", *images[:-2])
    assert code == 0, err
    assert "on 10 samples" in out


@pytest.mark.usefixtures("_untimed")
def test_every_verb_takes_tables(bmc: Run, tmp_path: Path, workspace: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "layer")
    weights = {"w": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}
    file = save(tmp_path / "t.onnx", [node], {"x": ("N", 2)}, {"y": ("N", 3)}, weights)
    table = tmp_path / "rows.csv"
    table.write_text("a,b,kind\n1,2,low\n3,-1,mid\n-2,1,high\n0,5,mid\n")
    options = ("--samples", table, "--preprocess", "features=a,b")
    code, _, err = bmc("export", file, "--target", "onnx", *options)
    assert code == 0, err
    labels = (*options, "--labels", "kind", "--max-drop", "99")
    code, out, err = bmc("quantize", file, *labels, "--allow-slower")
    assert code == 0, err
    assert "; accuracy " in out
    refused(bmc("share", file, "--method", "cluster", "--samples", table), "features=a,b,c")


def worst(outputs: Sequence[Mapping[str, Any]], labels: Sequence[Any]) -> float:
    """Return 1 minus the largest change of a logit."""
    errors = [np.abs(o["class/logits:0"] - v) for o, v in zip(outputs, labels, strict=True)]
    return 1 - float(np.max(errors))


def test_a_lost_score_is_refused_and_kept(file: Path, workspace: Path) -> None:
    model, samples = library.open(file), {"image": images(8)}
    assert isinstance(model, library.OnnxHandle)
    labels = model.predict(samples)["class/logits:0"]
    with pytest.raises(GateError, match=r"worst is .* max_drop allows 0\b.* Kept") as kept:
        model.quantize(samples=samples, labels=labels, score=worst, max_drop=0)
    assert [failure.check for failure in kept.value.failures] == ["accuracy"]
    assert (workspace / "net-int8-onnx.failed" / "manifest.json").is_file()
    options = {"samples": samples, "labels": labels, "score": worst}
    (bundle,) = model.quantize(**options, max_drop=90, allow_slower=True)
    assert bundle.scores["worst"]["value"] > 0.1
    with pytest.raises(library.BmcError, match="need labels"):
        model.quantize(samples=samples, max_drop=1, force=True)


def test_a_file_is_pruned_and_shared(bmc: Run, file: Path, rows: Path, workspace: Path) -> None:
    options = ("--samples", rows, "--min-agreement", "0.5")
    unstructured = ("prune", file, "--method", "unstructured")
    refused(bmc(*unstructured), "arrays of image")
    code, out, err = bmc(*unstructured, "--ratio", "0.1", *options)
    assert code == 0, err
    assert "net-unstructured-onnx" in out
    assert "stores them like other numbers" in err
    code, out, err = bmc("share", file, "--method", "cluster", "--set", "values=64", *options)
    assert code == 0, err
    assert "smaller only when compressed" in bmc("report", "--no-bench")[1]
    refused(bmc("prune", file, *options), "unstructured and --method nm alone", "structured needs")
    refused(bmc("share", file, *options), "--method cluster alone shares", "lowrank needs")
    refused(bmc(*unstructured, "--epochs", "2", *options), "is not trained")
    refused(bmc(*unstructured, "--max-drop", "1", *options), "--labels names their array")
    refused(bmc(*unstructured, "--target-size", "0.5x", *options), "--ratio says")


def test_python_prunes_and_shares_a_file(file: Path, workspace: Path) -> None:
    model, samples = library.open(file), {"image": images(8)}
    assert isinstance(model, library.OnnxHandle)
    (pruned,) = model.prune(method="nm", samples=samples, min_agreement=0.1)
    assert pruned.path == workspace / "net-nm-onnx"
    labels = model.predict(samples)["class/logits:0"].argmax(axis=1)
    (shared,) = model.share(samples=samples, labels=labels, max_drop=90, values=32)
    assert shared.scores["accuracy"]["value"] > 0.1
    logits = model.predict(samples)["class/logits:0"]
    with pytest.raises(GateError, match=r"net-unstructured-onnx\.failed"):
        model.prune(samples=samples, labels=logits, score=worst, max_drop=0)


def test_options_of_onnx_files_are_refused_for_model_directories(bmc: Run, known: Path) -> None:
    refused(bmc("quantize", "mlp", "--target", "onnx"), "--target is for ONNX files", "bmc export")
    refused(bmc("quantize", "mlp", "--samples", "x"), "--samples is 'x'; for a model directory")
    refused(bmc("export", "mlp", "--target", "onnx", "--batch", "1"), "are for ONNX files")
    refused(bmc("export", "mlp", "--target", "onnx", "--simplify"), "are for ONNX files")
    refused(bmc("prune", "mlp", "--samples", "x.npz"), "--samples is for ONNX files")
    refused(bmc("share", "mlp", "--labels", "x"), "--labels is for ONNX files")
    refused(bmc("prune", "mlp", "--preprocess", "scale=1"), "--preprocess is for ONNX files")
    both = ("--target", "onnx", "--preprocess", "scale=1")
    refused(bmc("export", "mlp", *both), "--preprocess are for ONNX files")
