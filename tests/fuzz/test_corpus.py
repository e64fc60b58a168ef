"""Inputs that once did harm do none today: the corpus of the fuzz runs, replayed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import _cases, _run

ROOT = Path(__file__).parents[2]
_REPLAY = """
import sys
from tests.fuzz import _cases, _run
name = sys.argv[1]
kept = [kept for kept in _cases.corpus_of(name) if kept.outcome != "crash in a run time"]
outcomes = _run.replay(_run.load(_run.modules()[name]), [one.case for one in kept])
for one in outcomes.kept:
    print(one.outcome, one.seen)
"""


@pytest.mark.parametrize("subject", _run.modules())
def test_the_corpus_of_a_subject_is_answered_or_refused(subject: str) -> None:
    if not [one for one in _cases.corpus_of(subject) if one.outcome != "crash in a run time"]:
        pytest.skip("nothing was kept")
    command = [sys.executable, "-c", _REPLAY, subject]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
