"""`bmc show`, `rename` and `remove`: how a model was made, and what the workspace keeps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli._refusals import BMC, Run, contents, edit, refused

Blocked = Callable[..., CompletedProcess[str]]
QUICK = ("--precision", "fp32", "--device", "cpu")


def test_show_prints_the_command_of_every_step_as_it_was_typed(
    bmc: Run, known: Path, workspace: Path
) -> None:
    prune = ("prune", "mlp", "--ratio", "0.25", "--epochs", "1", *QUICK)
    assert bmc(*prune)[0] == 0
    assert (
        bmc("quantize", "mlp-structured", "--samples", "64", "-o", workspace / "two words")[0] == 0
    )
    code, out, _ = bmc("show", "two words")
    assert code == 0
    first, second, third = (
        next(line for line in out.splitlines() if line.startswith(f"  {number}. "))
        for number in (1, 2, 3)
    )
    assert first.startswith("  1. bmc train mlp --data digits")
    assert second == f"  2. bmc {' '.join(prune)}"
    assert third.startswith("  3. bmc quantize mlp-structured --samples 64")
    assert f"'{workspace / 'two words'}'" in third
    for word in ("prune/structured", "quantize/static", "ratio=0.25", "validation accuracy"):
        assert word in out
    content = json.loads(bmc("show", "two words", "--json")[1])
    assert [step["method"] for step in content["steps"]] == ["prune/structured", "quantize/static"]
    assert len(content["commands"]) == 3


def test_show_draws_loss_and_score_by_epoch_and_the_confusion_matrix(bmc: Run, known: Path) -> None:
    code, out, _ = bmc("show", "mlp")
    assert code == 0
    for name in ("training loss", "validation accuracy"):
        line = next(
            line for line in out.splitlines() if line.startswith(name) and "epochs)" in line
        )
        assert sum(character in "▁▂▃▄▅▆▇█" for character in line) == 6
        assert line.endswith("(6 epochs)")
    assert "-> 3" in out


def test_show_of_a_bundle_needs_no_torch_and_ends_with_its_export(
    blocked: Blocked, bmc: Run, known: Path, workspace: Path
) -> None:
    assert bmc("export", "mlp", "--target", "onnx")[0] == 0
    for name in ("mlp", "mlp-onnx"):
        done = blocked(f"from bmc.cli import main; main(['show', '{name}'])", "torch")
        assert done.returncode == 0, done.stderr
        assert "  1. bmc train mlp --data digits" in done.stdout
    assert "  2. bmc export mlp --target onnx" in done.stdout


def test_a_model_that_python_made_shows_commands_that_do_the_same(bmc: Run, known: Path) -> None:
    manifest = json.loads((known / "bmc.json").read_text())
    del manifest["origin"]["commands"]
    edit(known / "bmc.json", origin=manifest["origin"])
    assert "  1. bmc train mlp" in bmc("show", "mlp")[1]


@pytest.mark.parametrize(
    "origin",
    [
        {"commands": "bmc train", "history": 3, "teacher": []},
        {"commands": [1, None, "x" * 10_000], "history": [1, {"epoch": "one"}], "teacher": {}},
        {"commands": ["\x1b[2J[bold]x"], "history": [{"a": 1e308}, {"b": 2}]},
    ],
)
def test_a_strangers_lineage_is_shown_as_data(
    bmc: Run, known: Path, origin: dict[str, object]
) -> None:
    edit(known / "bmc.json", origin=origin)
    code, out, err = bmc("show", "mlp")
    assert code == 0, err
    assert "\x1b" not in out
    assert bmc("show", "mlp", "--json")[0] == 0


def test_an_entry_gets_another_name_and_what_was_made_from_it_finds_it(
    bmc: Run, known: Path, workspace: Path
) -> None:
    before = contents(known)
    assert bmc("rename", "mlp", "digits-reader")[:2] == (
        0,
        f"mlp is {workspace / 'digits-reader'} now\n",
    )
    assert not known.exists()
    assert contents(workspace / "digits-reader") == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mpl", "x"), "no model or bundle named 'mpl'. Did you mean 'mlp'?"),
        (("mlp", "a/b"), "'a/b' cannot be a name: 'b' can"),
        (("mlp", "taken"), "taken exists; bmc remove taken"),
        (("mlp",), "bmc rename needs NEW"),
        (("../outside", "x"), "no model or bundle named '../outside'"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(
    bmc: Run, known: Path, workspace: Path, words: tuple[str, ...], message: str
) -> None:
    (workspace / "taken").mkdir()
    before = contents(workspace)
    refused(bmc("rename", *words), message)
    assert contents(workspace) == before


def test_remove_asks_and_without_an_answer_removes_nothing(
    bmc: Run, known: Path, workspace: Path
) -> None:
    shutil.copytree(known, workspace / "other")
    refused(bmc("remove", "mlp"), "remove model", str(known), "--yes")
    refused(bmc("remove", "mlp", "gone", "--yes"), "no model or bundle named 'gone'")
    assert known.exists()
    code, out, _ = bmc("remove", "mlp", "other", "--yes")
    assert code == 0
    assert out.startswith(f"removed model {known} (")
    assert [path.name for path in workspace.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize(("prediction", "stays"), [("n\n", True), ("y\n", False)])
def test_who_is_asked_decides(known: Path, prediction: str, stays: bool) -> None:
    pty = pytest.importorskip("pty")
    ours, reference = pty.openpty()
    os.write(ours, prediction.encode())
    done = subprocess.run(
        [*BMC, "remove", "mlp"], stdin=reference, capture_output=True, text=True, check=False
    )
    os.close(ours)
    os.close(reference)
    assert done.returncode == 0, done.stderr
    assert "remove model" in done.stderr
    assert done.stdout == "nothing was removed\n" if stays else done.stdout.startswith("removed")
    assert known.exists() == stays


def test_nothing_outside_the_workspace_is_removed(
    bmc: Run, known: Path, workspace: Path, tmp_path: Path
) -> None:
    outside = shutil.copytree(known, tmp_path / "mine")
    refused(bmc("remove", outside, "--yes"), "no model or bundle named")
    refused(bmc("remove", "../mine", "--yes"), "no model or bundle named")
    assert outside.exists()


def test_a_report_of_named_bundles_holds_just_these_and_their_curves(
    bmc: Run, known: Path, workspace: Path
) -> None:
    assert bmc("export", "mlp", "--target", "onnx,pytorch")[0] == 0
    code, _, err = bmc("report", "mlp-onnx", "--no-bench", "--no-floor")
    assert code == 0, err
    content = json.loads((workspace / "report" / "report.json").read_text())
    assert [line["name"] for line in content["lines"]] == ["mlp-onnx"]
    assert [epoch["epoch"] for epoch in content["lines"][0]["history"]] == list(range(1, 7))
    page = (workspace / "report" / "index.html").read_text()
    assert page.count("<polyline") == 2
    assert "mlp-pytorch" not in page
    refused(bmc("report", "mlp-onxn", "--no-bench"), "Did you mean 'mlp-onnx'?")
    other = shutil.copytree(workspace / "mlp-onnx", workspace.parent / "mlp-onnx")
    refused(bmc("report", "mlp-onnx", other, "--no-bench"), "two bundles are named mlp-onnx")


def test_a_model_directory_holds_its_curves(bmc: Run, known: Path) -> None:
    picture = (known / "training.svg").read_text()
    assert picture.startswith("<svg ")
    assert "training loss" in picture
