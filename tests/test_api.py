"""bmc from Python: verbs are functions that return handles, and nothing prints unless asked."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bmc
from bmc import console
from bmc import data as datasets
from bmc.errors import (
    ArtifactError,
    DataError,
    GateError,
    SettingError,
    UnknownError,
    UsageError,
)
from tests._vnni import HAS_VNNI

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples" / "python").glob("*.py"))
QUICK: dict[str, Any] = {"precision": "fp32", "device": "cpu"}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> bmc.ModelHandle:
    """Return the handle of a small perceptron, trained on digits for two epochs."""
    folder = tmp_path_factory.mktemp("api") / "mlp"
    return bmc.train("mlp", data="digits", width=32, epochs=2, output=folder, **QUICK)


@pytest.fixture(scope="session")
def bundle(digits: bmc.ModelHandle, tmp_path_factory: pytest.TempPathFactory) -> bmc.BundleHandle:
    """Return the handle of its ONNX bundle."""
    return digits.to("onnx", output=tmp_path_factory.mktemp("api") / "mlp-onnx")


def test_importing_bmc_and_listing_its_names_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, bmc; dir(bmc); print([n for n in ('torch', 'numpy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_that_bmc_offers_is_there() -> None:
    assert all(getattr(bmc, name) is not None for name in bmc.__all__)


def test_a_handle_knows_what_was_trained(digits: bmc.ModelHandle) -> None:
    assert digits.labels == tuple("0123456789")
    assert digits.task == "classification"
    assert digits.data["reference"] == "digits"
    assert 0.3 < digits.scores["validation_accuracy"] <= 1
    assert digits.steps == ()


def test_the_history_has_the_loss_and_the_score_of_each_epoch(digits: bmc.ModelHandle) -> None:
    first, second = digits.history
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert 0 < second["training_loss"] < first["training_loss"]
    best = max(first["validation_accuracy"], second["validation_accuracy"])
    assert digits.scores["validation_accuracy"] == best


def test_a_handle_cannot_be_changed_and_equals_another_of_its_path(
    digits: bmc.ModelHandle,
) -> None:
    with pytest.raises(FrozenInstanceError):
        digits.path = Path("elsewhere")  # type: ignore[misc]
    assert digits == bmc.ModelHandle(digits.path)


def test_a_handle_is_shown_as_a_small_table(digits: bmc.ModelHandle) -> None:
    text = repr(digits)
    assert text.startswith(f"bmc model {digits.path.name}\n")
    assert "accuracy 0." in text
    assert "train mlp" in text
    assert digits._repr_html_().startswith("<table>")


def test_a_handle_shows_what_bmc_show_prints(
    digits: bmc.ModelHandle, bundle: bmc.BundleHandle, capsys: pytest.CaptureFixture[str]
) -> None:
    digits.show()
    model = capsys.readouterr().out
    bundle.show()
    created = capsys.readouterr().out
    assert "a model for classification" in model
    assert "validation accuracy" in model
    assert "a bundle for onnx, fp32" in created
    assert "bmc export" in created


def test_labels_are_shown_and_never_obeyed(tmp_path: Path) -> None:
    from bmc.rendering.summaries import as_html, as_text

    rows = {"task": "<script>alert(1)</script>\x1b[2J"}
    assert "<script>" not in as_html("title", rows)
    assert "\x1b" not in as_text("title", rows) + as_html("title", rows)


def test_a_model_and_its_bundle_answer_a_row_and_a_list_alike(
    digits: bmc.ModelHandle, bundle: bmc.BundleHandle
) -> None:
    rows = list(datasets.load("digits").test.rows[:8])
    predictions = digits.predict(rows)
    assert [prediction.label for prediction in bundle.predict(rows)] == [
        a.label for a in predictions
    ]
    assert digits.predict(rows[0]).label == bundle.predict(rows[0]).label == predictions[0].label
    assert predictions[0].score == pytest.approx(bundle.predict(rows[0]).score, abs=1e-4)


def test_a_row_that_the_model_does_not_take_is_an_error(digits: bmc.ModelHandle) -> None:
    with pytest.raises(DataError):
        digits.predict(["a text"])


def test_a_bundle_tells_what_it_is(bundle: bmc.BundleHandle) -> None:
    assert (bundle.target, bundle.precision) == ("onnx", "fp32")
    assert bundle.labels == tuple("0123456789")
    assert bundle.parity["max_error"] < 1e-3
    assert bundle.scores["accuracy"]["value"] > 0.3
    assert 0 < bundle.size < 100_000
    assert "onnx, fp32" in repr(bundle)


def test_pruning_sharing_and_quantizing_return_handles_of_smaller_models(
    digits: bmc.ModelHandle,
) -> None:
    pruned = bmc.prune(digits, ratio=0.5, epochs=1, tuning=QUICK)
    shared = bmc.share(str(digits.path), "lowrank", energy=0.5, epochs=0)
    small = bmc.quantize(pruned, method="static", samples=64, in_float=["output"])
    assert pruned.steps == ("prune/structured",)
    assert shared.steps == ("share/lowrank",)
    assert small.steps == ("prune/structured", "quantize/static")
    sizes = [
        (created.path / "model.safetensors").stat().st_size for created in (digits, pruned, shared)
    ]
    assert sizes[1] < sizes[0] > sizes[2]


def test_a_model_is_named_by_its_handle_its_path_or_its_name(
    digits: bmc.ModelHandle, workspace: Path
) -> None:
    by_handle = bmc.quantize(digits, method="fp16", output=workspace / "a")
    by_path = bmc.quantize(digits.path, method="fp16", output=str(workspace / "b"))
    assert by_handle.steps == by_path.steps == ("quantize/fp16",)
    with pytest.raises(UsageError, match="is quantized, which comes last"):
        bmc.quantize("a")
    assert bmc.open("a") == by_handle


def test_a_model_whose_record_has_settings_by_their_old_names_loads(
    digits: bmc.ModelHandle, workspace: Path
) -> None:
    small = bmc.quantize(digits, samples=32, output=workspace / "old")
    manifest = json.loads((small.path / "bmc.json").read_text())
    settings = manifest["steps"][0]["settings"]
    settings["rows"] = settings.pop("samples")
    (small.path / "bmc.json").write_text(json.dumps(manifest))
    rows = list(datasets.load("digits").test.rows[:2])
    old = bmc.open(small.path)
    assert isinstance(old, bmc.ModelHandle)
    assert old.predict(rows) == old.to("pytorch").predict(rows)


def test_several_targets_give_a_handle_each(digits: bmc.ModelHandle) -> None:
    onnx, pytorch = digits.to("onnx", "pytorch")
    assert (onnx.target, pytorch.target) == ("onnx", "pytorch")
    assert bmc.open(onnx.path) == onnx


def test_bundles_are_compared_in_a_table(
    digits: bmc.ModelHandle, bundle: bmc.BundleHandle, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = bmc.compare([bundle, digits.to("pytorch")], bench=False)
    assert [row.target for row in comparison.rows] == ["onnx", "pytorch"]
    assert capsys.readouterr().out == ""
    comparison.show()
    assert "mlp-onnx" in capsys.readouterr().out
    assert "mlp-onnx" in repr(comparison)
    assert comparison._repr_html_().startswith("<table>")
    assert comparison.to_json()["lines"][0]["target"] == "onnx"


def test_a_comparison_measures_its_bundles_and_no_other(
    bundle: bmc.BundleHandle, digits: bmc.ModelHandle
) -> None:
    digits.to("onnx")  # lies in the workspace, and is not asked for
    (row,) = bmc.compare(bundle, launches=2, rounds=2, threads=(1,)).rows
    assert row.name == bundle.path.name
    assert row.p50 is None or row.p50.value > 0
    assert row.threads == 1


def test_a_student_learns_from_a_teachers_handle(model_folder: Path) -> None:
    teacher = bmc.ModelHandle(model_folder)
    small: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "transfer": "none"}
    student = bmc.distill(teacher, student="tiny", epochs=1, batch_size=64, **small, **QUICK)
    assert student.labels == teacher.labels
    assert student.data["fingerprint"] == teacher.data["fingerprint"]
    assert student.steps == ("distill/logits",)
    assert len(student.history) == 1
    assert student.predict("an hour of wit and charm").label in teacher.labels


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "mlpp"}, UnknownError, "Did you mean 'mlp'?"),
        ({"widht": 32}, UnknownError, "Did you mean 'width'?"),
        ({"width": 2.5}, SettingError, "width is 2.5; it must be a whole number"),
        ({"epochs": -1}, SettingError, "epochs is -1"),
        ({"epochs": "many"}, SettingError, "epochs is 'many'"),
        ({"data": "no-such.csv"}, UnknownError, "no-such.csv"),
    ],
)
def test_a_wrong_argument_is_an_error_of_bmcs_tree(
    settings: dict[str, Any], error: type[bmc.BmcError], message: str
) -> None:
    with pytest.raises(error, match=message.replace("?", r"\?")):
        bmc.train(**{"model": "mlp", "data": "digits", **settings})


def test_an_output_that_exists_is_refused(digits: bmc.ModelHandle) -> None:
    with pytest.raises(UsageError, match="exists"):
        bmc.train("mlp", data="digits", epochs=1, output=digits.path)


def test_what_loses_too_much_is_a_gate_error_and_is_kept(
    digits: bmc.ModelHandle, workspace: Path
) -> None:
    with pytest.raises(GateError, match="points of the validation score were lost"):
        bmc.prune(digits, ratio=0.9, epochs=0, max_drop=0.0)
    kept = bmc.open(workspace / "mlp-structured.failed")
    assert isinstance(kept, bmc.ModelHandle)
    assert kept.steps == ("prune/structured",)


def test_an_interrupted_training_resumes_where_it_was(workspace: Path) -> None:
    notes: list[str] = []

    def stop(event: bmc.Event) -> None:
        if event.text == "training" and event.done == 60:
            raise KeyboardInterrupt

    def train(progress: Callable[[bmc.Event], None]) -> bmc.ModelHandle:
        return bmc.train(
            "mlp",
            data="digits",
            width=32,
            epochs=3,
            batch_size=32,
            checkpoint_every=10,
            progress=progress,
            output=workspace / "resumed",
            **QUICK,
        )

    with pytest.raises(KeyboardInterrupt):
        train(stop)
    assert not (workspace / "resumed").exists()
    resumed = train(lambda event: notes.append(event.text))
    assert any(note.startswith("training resumes from epoch") for note in notes)
    whole = bmc.train(
        "mlp",
        data="digits",
        width=32,
        epochs=3,
        batch_size=32,
        output=workspace / "whole",
        **QUICK,
    )
    assert resumed.history == whole.history
    rows = list(datasets.load("digits").test.rows[:4])
    assert resumed.predict(rows) == whole.predict(rows)


def test_nothing_is_printed_unless_asked(tmp_path: Path) -> None:
    code = (
        "import sys, bmc\n"
        "def train(**options):\n"
        "    return bmc.train('mlp', data='digits', width=16, epochs=1, force=True, **options)\n"
        "train().to('onnx', force=True)\n"
        "print('now aloud', file=sys.stderr, flush=True)\n"
        "train(verbose=True)\n"
    )
    environment = {**os.environ, "BMC_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    silent, verbose = done.stderr.split("now aloud\n")
    assert (done.stdout, silent) == ("", "")
    assert "epoch 1 of 1: validation accuracy" in verbose


def test_a_callers_function_hears_instead_of_the_terminal(
    workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    events: list[bmc.Event] = []
    with console.reporting(console.Silent()):
        bmc.train("mlp", data="digits", width=16, epochs=1, progress=events.append, **QUICK)
    assert capfd.readouterr() == ("", "")
    steps = [event for event in events if event.text == "training"]
    assert steps[-1].done == steps[-1].total
    assert np.all(np.diff([event.done or 0 for event in steps]) >= 0)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_it_stands(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In this process: a process for each would take longer for its imports than for the rest.

    Of the warnings those count that Python shows.
    """
    if script.stem in ("compress", "own_network") and not HAS_VNNI:
        pytest.skip("int8 accumulators saturate without VNNI")
    monkeypatch.chdir(tmp_path)
    with console.reporting(console.Silent()):  # as in a process of its own
        runpy.run_path(str(script), run_name="__main__")
    out, err = capfd.readouterr()
    assert (bool(out), err) == (True, "")
    unseen = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    assert [str(each.message) for each in recwarn if not issubclass(each.category, unseen)] == []


def test_a_call_leaves_the_callers_random_numbers_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    bmc.train("mlp", data="digits", width=8, epochs=1, output=tmp_path / "mlp", **QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_a_handle_works_after_the_working_folder_changed_and_says_when_its_folder_is_gone(
    digits: bmc.ModelHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits.path, tmp_path / "copied")
    handle = bmc.open("copied")
    monkeypatch.chdir(tmp_path.parent)
    row = np.zeros((8, 8), np.uint8)
    assert handle.predict(row).label in digits.labels
    shutil.rmtree(tmp_path / "copied")
    with pytest.raises(ArtifactError, match="cannot be read any more"):
        handle.predict(row)


def test_old_names_of_training_settings_are_known(tmp_path: Path) -> None:
    model = bmc.train(
        "mlp", data="digits", width=8, epochs=1, initialisation="he", output=tmp_path / "m", **QUICK
    )
    assert model.path.is_dir()


def test_what_one_process_does_is_refused_in_several(
    digits: bmc.ModelHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="an export runs in one process, and 2 were started"):
        digits.to("onnx")
