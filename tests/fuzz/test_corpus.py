"""Inputs that once did harm do none today: the corpus of the fuzz runs, replayed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fuzz import _run

ROOT = Path(__file__).parents[2]
_REPLAY = """
import sys
from tests.fuzz import _cases, _run
for name in sys.argv[1:]:
    kept = [kept for kept in _cases.corpus_of(name) if kept.outcome != "crash in a run time"]
    outcomes = _run.replay(_run.load(_run.modules()[name]), [one.case for one in kept])
    for one in outcomes.kept:
        print(name, one.outcome, one.seen)
"""


def test_the_corpus_of_every_subject_is_answered_or_refused() -> None:
    """In one process, whose imports take longer than the cases."""
    command = [sys.executable, "-c", _REPLAY, *_run.modules()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
