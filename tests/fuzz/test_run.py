"""The fuzz harness itself: every kind of outcome is told apart, and what failed is kept."""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import strategies
from hypothesis.strategies import SearchStrategy

from bmc.errors import DataError
from tests.fuzz import _cases, _run
from tests.fuzz._cases import Kept


def _check(case: str, folder: Path) -> None:
    """Do what the case says, up to a dash."""
    case = case.partition("-")[0]
    if case == "refused":
        raise DataError("no such thing")
    if case == "several lines":
        raise DataError("no\nsuch thing")
    if case == "raw":
        raise KeyError("raw")
    if case == "memory":
        bytearray(4 << 30)
    if case == "outside":
        Path("/etc/hostname").read_bytes()
    if case == "canary":
        (folder / "link").symlink_to(folder.parent / "outside" / "secret.txt")
        (folder / "link").read_bytes()
    if case == "network":
        with socket.socket() as created:
            created.settimeout(0.01)
            created.connect(("127.0.0.1", 9))
    if case == "crash":
        os.abort()
    if case == "hang":
        time.sleep(60)
    if case == "collect":
        gc.collect()
    (folder / "file").write_text(case)


def _cases_of() -> SearchStrategy[str]:
    """Return thousands of cases: of few, hypothesis draws each once and ends."""
    numbers = strategies.integers(0, 9999)
    outcome = strategies.sampled_from(["success", "refused"])
    return strategies.builds(lambda name, number: f"{name}-{number}", outcome, numbers)


ROOT = Path(__file__).parents[2]
_DRAW = """
import json
from tests.fuzz import _run
from tests.fuzz.test_run import SUBJECT
for _ in range(2):
    outcomes = _run.fuzz(SUBJECT, 40, 60, seed=3)
    print(json.dumps({"counts": outcomes.counts, "errors": outcomes.errors}))
"""
SUBJECT = SimpleNamespace(__name__="a subject", cases=_cases_of, check=_check)


def test_every_kind_of_outcome_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "SECONDS_A_CASE", 1.5)
    cases = ["success", "refused", "several lines", "raw", "memory", "outside", "canary"]
    cases += ["network", "crash", "hang", "success"]
    limit = resource.getrlimit(resource.RLIMIT_AS)
    outcomes = _run.replay(SUBJECT, cases)
    assert resource.getrlimit(resource.RLIMIT_AS) == limit
    assert dict(outcomes.counts) == {
        **{"success": 2, "refused": 1, "raw": 2, "memory": 1, "outside": 3, "crash": 1, "hang": 1},
    }
    assert [kept.case for kept in outcomes.kept] == cases[2:-1]


def test_drawn_cases_are_counted_and_the_same_seed_draws_the_same() -> None:
    """In a process of its own, as the harness runs: forks keep no thread of other tests."""
    done = subprocess.run(
        [sys.executable, "-c", _DRAW], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert sum(first["counts"].values()) == 40
    assert first == second
    assert first["errors"] == {"DataError": first["counts"]["refused"]}


class _Left:
    """Stands for a session that a test left: a child that frees it would wait for ever."""

    def __init__(self, freed: Path) -> None:
        self.freed, self.itself = freed, self

    def __del__(self) -> None:
        self.freed.touch()


def test_a_child_frees_nothing_that_its_parent_left(tmp_path: Path) -> None:
    gc.disable()
    try:
        _Left(tmp_path / "freed")
        outcomes = _run.replay(SUBJECT, ["collect"])
        assert dict(outcomes.counts) == {"success": 1}
        assert not (tmp_path / "freed").exists()
    finally:
        gc.enable()
    gc.collect()
    assert (tmp_path / "freed").exists()


def test_a_kept_case_is_read_back(tmp_path: Path) -> None:
    case = {"a": [1, 2.5, float("inf"), b"\xff", ("t", None, True)], "b": "text"}
    _cases.keep("some", Kept("raw", "KeyError", case), tmp_path)
    _cases.keep("some", Kept("crash in a run time", "SIGSEGV", case), tmp_path)
    _cases.keep("some", Kept("crash in a run time", "SIGFPE", case), tmp_path)
    assert [kept.case for kept in _cases.corpus_of("some", tmp_path)] == [case] * 3
