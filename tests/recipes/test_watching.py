"""How far a recipe is, read while another command runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bmc import cli
from bmc.errors import ArtifactError, UnknownError
from bmc.recipes.plan import Step
from bmc.recipes.progress import DONE, FAILED, RUNNING, Progress
from bmc.recipes.watching import read_progress
from bmc.rendering import watching

STEPS = (Step("base", "train"), Step("small", "prune", {"model": "base"}))


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    monkeypatch.setenv("BMC_HOME", str(tmp_path))
    progress = Progress.of("tiny", STEPS)
    progress.change("base", state=DONE, seconds=130.0)
    progress.change("small", state=RUNNING, since=time.time())
    progress.tell("small", "epoch 2 of 3", 20, 60)
    progress.write()
    return progress


def test_a_running_recipe_is_shown_with_what_each_step_does(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    before = progress.path.read_bytes()
    assert cli.run(["report", "--watch"]) == 0
    shown = capsys.readouterr().out
    assert "tiny: 1 of 2 steps" in shown
    assert "2 min 10 s" in shown
    assert "epoch 2 of 3: 20 of 60" in shown
    assert progress.path.read_bytes() == before
    assert cli.run(["report", "--watch", "tiny", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["is_running"] is True
    assert [step["state"] for step in document["steps"]] == ["done", "running"]


def test_the_live_view_ends_with_the_recipe(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal then

    def end() -> None:
        time.sleep(0.7)
        progress.change("small", state=FAILED, seconds=1.0, text="2 points were lost")
        progress.write(is_over=True)

    thread = threading.Thread(target=end)
    thread.start()
    rendered = watching.watch(["tiny"])
    thread.join()
    assert rendered.data["is_running"] is False
    assert rendered.data["steps"][1]["state"] == "failed"


def test_a_command_that_was_killed_is_not_shown_as_running(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    content = json.loads(progress.path.read_text())
    progress.path.write_text(json.dumps({**content, "process": ended.pid}))
    assert cli.run(["report", "--watch"]) == 0
    assert "was killed: bmc run goes on" in capsys.readouterr().out
    progress.path.write_text(json.dumps({**content, "process": os.getpid(), "started": 0}))
    assert read_progress().was_killed  # the number is another process's by now


def test_a_recipe_that_was_not_run_and_a_damaged_file_are_named(progress: Progress) -> None:
    with pytest.raises(UnknownError, match="Did you mean 'tiny'"):
        read_progress("tinny")
    progress.path.write_text('{"steps": [{"state": "?"}]}')
    with pytest.raises(ArtifactError, match=r"tiny\.json is damaged"):
        read_progress("tiny")
    progress.path.unlink()
    with pytest.raises(UnknownError, match="no recipe was run"):
        read_progress()
