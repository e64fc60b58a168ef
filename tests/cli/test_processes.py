"""Commands in several processes: who prints and writes, what is refused, what a death leaves."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from bmc import cli
from tests._launched import by_accelerate
from tests.training.test_together import TOLERANCE, as_one_of

SETTINGS = ("--set", "dropout=0", "--epochs", "40", "--checkpoint-every", "10")
TRAIN = ("train", "mlp", "--data", "digits", *SETTINGS, "--precision", "fp32", "--device", "cpu")


def test_a_killed_process_ends_the_other_and_one_process_resumes_with_the_same_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("accelerate")
    monkeypatch.setenv("BMC_HOME", str(tmp_path))
    log, checkpoint = tmp_path / "log", tmp_path / ".checkpoints" / "killed"
    arguments = (*TRAIN, "--output", str(tmp_path / "killed"))
    launched = by_accelerate("bmc", *arguments, log=log)
    while launched.poll() is None and not (checkpoint / "checkpoint.safetensors").exists():
        time.sleep(0.05)
    for child in psutil.Process(launched.pid).children():
        if child.environ().get("RANK") == "1":
            child.kill()
    assert launched.wait(timeout=60) == 1
    printed = log.read_text()
    assert printed.count("data digits") == 1
    assert "another of the 2 processes has ended" in printed
    assert not (tmp_path / "killed").exists()
    assert cli.run(arguments) == 0
    assert "training resumes from epoch" in capfd.readouterr().err
    assert cli.run((*TRAIN, "--output", str(tmp_path / "whole"), "--quiet")) == 0
    curves = [
        json.loads((tmp_path / name / "bmc.json").read_text())["origin"]["history"]
        for name in ("killed", "whole")
    ]
    for resumed, whole in zip(*curves, strict=True):
        assert resumed == pytest.approx(whole, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("export", "anything"), "bmc export runs in one process, and 2 were started"),
        (("train", "gan", "--data", "digits"), "the training of gan runs in one process"),
    ],
)
def test_what_one_process_alone_can_do_is_refused_by_name(
    arguments: tuple[str, ...],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path))
    as_one_of(monkeypatch, 0, 2)
    assert cli.run(arguments) == 2
    assert named in capfd.readouterr().err


def interrupted(seconds: float) -> None:
    raise KeyboardInterrupt


def test_another_process_than_the_first_says_which_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path))
    as_one_of(monkeypatch, 1, 2)
    assert cli.run(("train", "no-such-model")) == 2
    assert capfd.readouterr().err.startswith("bmc: process 1: no model named 'no-such-model'")
    monkeypatch.setattr(time, "sleep", interrupted)
    assert cli.run(("train", "no-such-model")) == 2  # a launcher ended it meanwhile
    assert capfd.readouterr().err == ""
