"""What a report says of zeros that bring no speed, and of bundles that became slower."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bmc import artifact
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.compress.prune.unstructured import Unstructured
from bmc.data import Dataset, Examples
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.inspect import zeros
from bmc.measure.results import Run
from bmc.model import AppliedStep, Model
from bmc.models import mlp
from bmc.report import page, table
from bmc.report.collect import Line, collect
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests.report._runs import timed

LABEL = "smaller only when compressed"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = datasets.load("digits")
    return replace(data, test=Examples(data.test.rows[:40], data.test.labels[:40]))


@pytest.fixture(scope="module")
def made(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a perceptron and its pruned copy, exported as the command does."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    model = mlp.baseline("mlp", digits, mlp.Settings(width=64))
    model.data = {"reference": "digits", "fingerprint": digits.fingerprint}
    bundle(artifact.save(model, folder / "dense"), digits, folder / "dense-onnx")

    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(device="cpu")
    work = work_for(digits, (), settings, folder, folder, never, run="")
    record = Unstructured(ratio=0.75).apply(model, work)
    model.steps.append(AppliedStep("prune/unstructured", {}, record, 0, 0.0))
    model.origin = {"from": "dense"}
    bundle(artifact.save(model, folder / "sparse"), digits, folder / "sparse-onnx")
    return folder


def bundle(model: Path, data: Dataset, output: Path) -> None:
    with source_of(model, data, ExportOptions()) as source:
        flow.export(source, "onnx", output, force=False)


@pytest.fixture
def place(made: Path, workspace: Path) -> Path:
    """Return the test's own workspace, with both bundles in it."""
    for name in ("dense-onnx", "sparse-onnx"):
        shutil.copytree(made / name, workspace / name)
    return workspace


def change(folder: Path, build: dict[str, Any] | None = None, **lineage: Any) -> None:
    """Write other facts into a bundle's manifest."""
    manifest = bundles.read(folder).manifest
    lineage = {**manifest.lineage, **lineage}
    bundles.write(folder, replace(manifest, lineage=lineage, build=build or manifest.build))


def line_of(run: Run | None, name: str = "sparse-onnx") -> Line:
    (line,) = [line for line in collect(run).lines if line.name == name]
    return line


def test_a_pruned_bundle_says_how_much_of_it_is_zero_and_what_compression_makes_of_it(
    made: Path,
) -> None:
    lineage = bundles.read(made / "sparse-onnx").manifest.lineage
    assert lineage["sparsity"] == pytest.approx(0.75 * 4096 / (4096 + 640), abs=1e-3)
    weights = made / "sparse" / "model.safetensors"
    assert lineage["compressed"] == {
        "of_bytes": weights.stat().st_size,
        "bytes": zeros.compressed_size(weights),
        "by": zeros.COMPRESSION,
    }
    assert lineage["from"] == "dense"
    assert "sparsity" not in bundles.read(made / "dense-onnx").manifest.lineage


def test_zeros_without_a_measurement_are_labeled(place: Path) -> None:
    line = line_of(None)
    assert line.origin == "dense-onnx"
    (remark,) = line.remarks
    assert remark.startswith("unstructured sparsity (65% of the weights are 0)")
    assert LABEL in remark
    assert "faster" not in remark, "nothing was measured"
    assert line_of(None, "dense-onnx").remarks == ()


def test_zeros_that_are_measured_as_fast_as_before_are_labeled(place: Path) -> None:
    line = line_of(timed(place, {"dense-onnx": 200.0, "sparse-onnx": 200.0}))
    assert line.speed_up_origin is not None
    assert line.speed_up_origin.low <= 1 <= line.speed_up_origin.high
    (remark,) = line.remarks
    assert LABEL in remark
    assert remark.endswith("; no faster here")


def test_zeros_that_are_measured_to_be_faster_are_not_labeled(place: Path) -> None:
    (remark,) = line_of(timed(place, {"dense-onnx": 300.0, "sparse-onnx": 200.0})).remarks
    assert LABEL not in remark
    assert "1.50 [" in remark
    assert "times faster than dense-onnx here" in remark


def test_a_speed_up_that_another_step_may_have_brought_is_not_the_zeros_merit(
    place: Path,
) -> None:
    change(place / "sparse-onnx", steps=["prune/unstructured", "prune/structured"])
    (remark,) = line_of(timed(place, {"dense-onnx": 300.0, "sparse-onnx": 200.0})).remarks
    assert LABEL in remark
    assert "no faster" not in remark, "it was measured to be faster"


def test_zeros_in_a_pattern_are_called_so(place: Path) -> None:
    change(place / "sparse-onnx", steps=["prune/nm"])
    (remark,) = line_of(None).remarks
    assert remark.startswith("N:M sparsity")


def test_a_namesake_that_it_was_not_made_from_is_no_origin(place: Path) -> None:
    change(place / "dense-onnx", steps=["share/lowrank"])
    assert line_of(None).origin is None
    change(place / "dense-onnx", steps=[], data={"reference": "fashion-mnist"})
    assert line_of(None).origin is None


SLOWER = {"dense-onnx": 200.0, "sparse-onnx": 250.0}
SMALL = {"dense-onnx": 20.0, "sparse-onnx": 25.0}


@pytest.mark.parametrize(
    ("steps", "lineage", "nodes", "times", "cause"),
    [
        (["prune/unstructured"], {}, {"Gemm": 2}, SLOWER, "kernel not used: this runtime"),
        (
            ["prune/structured"],
            {"odd_widths": [13, 27]},
            {"Gemm": 2},
            SLOWER,
            "no multiple of 8, which kernels like: width 13, 27",
        ),
        (["share/layers"], {}, {"MatMul": 9}, SLOWER, "kernel not used: its graph has no LSTM"),
        (
            ["share/lowrank"],
            {},
            {"Gemm": 4, "LSTM": 1},
            SLOWER,
            "overhead-bound: 5 operators instead of 3",
        ),
        (["share/tie"], {}, {"Gemm": 2, "LSTM": 1}, SMALL, "overhead-bound: so small"),
        (["share/tie"], {}, {"Gemm": 2, "LSTM": 1}, SLOWER, ""),
    ],
)
def test_a_slower_bundle_is_flagged_with_its_cause_where_one_can_be_told(
    place: Path,
    steps: list[str],
    lineage: dict[str, Any],
    nodes: dict[str, int],
    times: dict[str, float],
    cause: str,
) -> None:
    change(place / "dense-onnx", {"nodes": {"Gemm": 2, "LSTM": 1}})
    change(place / "sparse-onnx", {"nodes": nodes}, steps=steps, sparsity=None, **lineage)
    (remark,) = line_of(timed(place, times)).remarks
    expected = "1.25 times slower than dense-onnx, which it was made from"
    assert remark.startswith(f"{expected}: {cause}" if cause else expected)
    assert remark == expected or cause


def test_a_slow_down_within_the_noise_is_not_flagged(place: Path) -> None:
    run = timed(place, {"dense-onnx": 200.0, "sparse-onnx": 205.0})
    assert not any("slower" in remark for remark in line_of(run).remarks)


def test_odd_widths_of_layers_are_written_down_and_those_of_outputs_are_not(
    digits: Dataset, tmp_path: Path
) -> None:
    model = mlp.baseline("mlp", digits, mlp.Settings(width=13, depth=2))
    model.data = {"reference": "digits", "fingerprint": digits.fingerprint}
    bundle(artifact.save(model, tmp_path / "odd"), digits, tmp_path / "odd-onnx")
    assert bundles.read(tmp_path / "odd-onnx").manifest.lineage["odd_widths"] == [13]


def test_remarks_stand_in_the_text_on_the_page_and_in_the_json(
    place: Path, bmc: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    report = collect(timed(place, SLOWER))
    for text in (table.markdown(report), page.html(report)):
        assert LABEL in text
        assert "1.25 times slower than dense-onnx" in text
    code, out, _ = bmc("report", "--no-bench", "-o", tmp_path / "report")
    assert code == 0
    assert LABEL in " ".join(out.split())
    assert LABEL in (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
