"""What was measured of layers is used for this model, data and rows alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from bmc import artifact
from bmc.inspect import kept
from bmc.inspect.sensitivity import Loss, Sensitivity
from bmc.measure.scores import Interval
from bmc.model import AppliedStep

DATA = "ab" * 32
LOSS = Loss("classifier", "int4", Interval(0.1, 0.0, 0.2), 0.3)
FOUND = Sensitivity("accuracy", Interval(0.8, 0.7, 0.9), 50, (LOSS,))


def test_what_was_measured_is_read_back_for_this_data_and_these_rows_alone(
    lively_folder: Path,
) -> None:
    assert kept.read(lively_folder, DATA) is None
    kept.write(lively_folder, FOUND, DATA)
    assert kept.read(lively_folder, DATA) == FOUND
    assert kept.read(lively_folder, "cd" * 32) is None


def test_as_many_other_rows_and_other_data_have_another_key() -> None:
    rows = [("a fine film",), ("a bore",)]
    assert kept.key_of(DATA, rows) == kept.key_of(DATA, list(rows))
    keys = {kept.key_of(DATA, rows), kept.key_of(DATA, rows[::-1]), kept.key_of("cd" * 32, rows)}
    assert len(keys) == 3
    assert kept.drawn(3, 512) == [0, 1, 2]
    assert len(set(kept.drawn(700, 512))) == 512


@pytest.mark.parametrize("kind", ["weights", "records"])
def test_a_model_made_anew_under_the_name_is_measured_again(
    kind: str, lively_folder: Path, tmp_path: Path
) -> None:
    kept.write(lively_folder, FOUND, DATA)
    other = Path(shutil.copytree(lively_folder, tmp_path / lively_folder.name))
    assert kept.read(other, DATA) == FOUND
    if kind == "weights":
        changed = artifact.load(other)
        with torch.no_grad():
            next(changed.module.parameters()).add_(1)
        artifact.save(changed, other, force=True)
    else:
        text = json.loads((other / "bmc.json").read_text())
        text["steps"] = [vars(AppliedStep("share/tie", {}, {"a": 1}, 0, 0.0))]
        (other / "bmc.json").write_text(json.dumps(text))
    assert kept.read(other, DATA) is None
    kept.write(other, FOUND, DATA)
    assert kept.read(lively_folder, DATA) == FOUND, "both stand in one file"


@pytest.mark.parametrize("kind", ["cut", "a number", "an older version", "a list"])
def test_a_damaged_file_is_said_and_not_used(
    kind: str, lively_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = kept.write(lively_folder, FOUND, DATA)
    text = path.read_text()
    changed = {
        "cut": text[: len(text) // 2],
        "a number": text.replace("0.3", "0.9"),
        "an older version": text.replace('"schema": 2', '"schema": 1'),
        "a list": "[]",
    }
    path.write_text(changed[kind])
    assert kept.read(lively_folder, DATA) is None
    assert str(path) in "".join(capfd.readouterr().err.split("\n"))
    kept.write(lively_folder, FOUND, DATA)
    assert kept.read(lively_folder, DATA) == FOUND
