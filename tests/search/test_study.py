"""The study: resumed where it was, the same for the same seed, and never another search's."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from bmc.choices import Among, Between  # noqa: E402
from bmc.errors import UsageError  # noqa: E402
from bmc.search import study as studies  # noqa: E402
from bmc.search.space import Candidate, Option, Space  # noqa: E402
from bmc.search.study import SHOWN, Study  # noqa: E402

SPACE = Space(
    structural=(
        Option("prune", "structured", {"ratio": Between(0.1, 0.9)}),
        Option("share", "cluster", {"values": Among((4, 16))}),
    ),
    quantizations=(Option("quantize", "static"),),
)
IDENTITY = {"model": "abc", "target": "onnx"}
PARTS = [*SPACE.quantized(Candidate(None, (), None)), *SPACE.singles()]


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def opened(folder: Path, seed: int = 0, **changed: Any) -> Study:
    return Study(url(folder), {**IDENTITY, **changed}, ("drop", "latency"), "tpe", seed)


def queue_parts(study: Study) -> None:
    """Queue each part of the space alone, those that were queued before left out."""
    queued = study.queued()
    for params in PARTS:
        if params not in queued:
            study.queue(params)


def proposals(study: Study, count: int) -> list[str]:
    """Return the next candidates; each loses and takes what its words' length says."""
    words = []
    queue_parts(study)
    for _ in range(count):
        trial = study.ask()
        drawn = SPACE.draw(trial).shown()
        study.tell(trial, [len(drawn) % 7, len(drawn)], {"drop": len(drawn) % 7 - 3})
        words.append(drawn)
    return words


def test_the_same_seed_proposes_the_same_and_stopping_changes_nothing(tmp_path: Path) -> None:
    for name in ("whole", "stopped", "other"):
        (tmp_path / name).mkdir()
    whole = proposals(opened(tmp_path / "whole"), 12)
    first = proposals(opened(tmp_path / "stopped"), 11)
    assert first + proposals(opened(tmp_path / "stopped"), 1) == whole
    assert proposals(opened(tmp_path / "other", seed=1), 2) != whole[:2]


def test_a_candidate_that_cannot_be_made_is_hardly_proposed_again(tmp_path: Path) -> None:
    study = opened(tmp_path)
    queue_parts(study)
    impossible = []
    for _ in range(40):
        trial = study.ask()
        words = SPACE.draw(trial).shown()
        impossible.append("cluster" in words and "static" in words)
        if impossible[-1]:
            study.fail(trial, "no layer can be quantized")
        else:
            study.tell(trial, [len(words) % 7, len(words)], {"drop": -1.0})
    assert any(impossible)
    assert sum(impossible[20:]) <= 4
    assert len(study.complete()) == 40 - sum(impossible)


def test_after_a_candidate_that_was_measured_before_others_are_tried(tmp_path: Path) -> None:
    """One candidate is better than all others, so a sampler alone proposes it again and again."""
    study = opened(tmp_path)
    queue_parts(study)
    candidates = []
    for _ in range(40):
        trial = study.ask()
        words = SPACE.draw(trial).shown()
        study.note(trial, studies.SHOWN, words)
        excess = -1.0 if words == "static" else 1.0
        study.tell(trial, [excess, excess], {"drop": excess})
        candidates.append(words)
    repeated = [number for number, words in enumerate(candidates) if words in candidates[:number]]
    assert repeated
    assert all(candidates[number : number + 4].count(candidates[number]) < 4 for number in repeated)


def test_optunas_front_has_only_trials_within_the_limits(tmp_path: Path) -> None:
    study = opened(tmp_path)
    proposals(study, 4)
    assert study.front()
    assert all(trial.values[0] <= 3 for trial in study.front())


def test_a_trial_that_a_killed_process_left_is_run_again(tmp_path: Path) -> None:
    study = opened(tmp_path)
    queue_parts(study)
    left = SPACE.draw(study.ask()).shown()
    again = opened(tmp_path)
    assert not again.trials(), "--trials counts it once, when it is run again"
    assert not again.complete()
    assert again.count() == len(PARTS), "a killed trial counts once: the next one is the same"
    words = [SPACE.draw(again.ask()).shown() for _ in range(len(PARTS))]
    assert left in words


def test_a_candidate_in_which_the_process_is_killed_again_and_again_is_given_up(
    tmp_path: Path,
) -> None:
    study = opened(tmp_path)
    study.queue(PARTS[0])
    words = []
    for _ in range(3):
        words.append(SPACE.draw(study.ask()).shown())
        study = opened(tmp_path)
    assert len(set(words)) == 1
    assert len(study.trials()) == 1, "the last attempt; no other trial has its candidate"
    assert not study.waiting()
    assert study.count() == 1


def test_what_was_queued_is_known_after_it_ended(tmp_path: Path) -> None:
    study = opened(tmp_path)
    study.queue(PARTS[0])
    trial = study.ask()
    SPACE.draw(trial)
    study.tell(trial, [1.0, 1.0], {})
    study.queue(PARTS[1])
    assert opened(tmp_path).queued() == PARTS[:2]
    assert study.waiting() == 1


def test_two_commands_do_not_share_one_file(tmp_path: Path) -> None:
    opened(tmp_path)
    code = "import sys, time; from pathlib import Path; from bmc import locks\n"
    code += "with locks.alone(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path / "study.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(UsageError, match=r"study\.db is used by another bmc compress"):
                studies.hold_file(url(tmp_path))
        finally:
            other.kill()
    studies.hold_file(url(tmp_path))
    studies.hold_file("postgresql://host/name")


def test_the_trials_of_another_model_or_budget_are_refused_by_name(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(UsageError, match=r"study\.db holds the study of another search .*model"):
        opened(tmp_path, model="def")
    with pytest.raises(UsageError, match="its target is 'onnx', and here it is 'openvino'"):
        opened(tmp_path, target="openvino")


def test_a_storage_of_another_tool_is_refused_by_the_name_of_its_study(tmp_path: Path) -> None:
    optuna.create_study(storage=url(tmp_path), study_name="somebody's")
    with pytest.raises(UsageError, match=r"study\.db holds the study \"somebody's\""):
        opened(tmp_path)


def test_a_storage_that_another_process_has_locked_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "PATIENCE", 0.05)
    study = opened(tmp_path)
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UsageError, match=r"study\.db is locked by another process"):
            study.ask()
        with pytest.raises(UsageError, match=r"study\.db is locked by another process"):
            opened(tmp_path)
        other.execute("ROLLBACK")


def test_what_is_no_url_is_refused_and_a_password_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must look like sqlite:///study\.db"):
        Study("study.db", IDENTITY, ("drop",), "tpe", 0)
    assert studies.shown_url("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"


def test_a_search_without_an_option_of_the_recorded_one_is_refused_by_its_name(
    tmp_path: Path,
) -> None:
    opened(tmp_path, transfer="reviews.txt")
    with pytest.raises(UsageError, match=r"its transfer is 'reviews.txt', and here it is None"):
        opened(tmp_path)


def test_what_may_succeed_in_another_attempt_is_no_lasting_failure(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for words, is_transient in (("killed", True), ("refused", False)):
        trial = study.ask()
        study.note(trial, studies.SHOWN, words)
        study.fail(trial, "because", is_transient)
    assert study.failures() == {"refused": "because"}


def test_a_candidate_that_fails_again_and_again_is_given_up(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for attempt in range(3):
        study.queue(PARTS[0])
        trial = study.ask()
        SPACE.draw(trial)
        study.note(trial, SHOWN, "crashes")
        assert not study.failures()
        study.fail(trial, f"crash {attempt}", is_transient=True)
    assert study.failures() == {"crashes": "crash 2"}
    assert len(study.impossible()) == 3
