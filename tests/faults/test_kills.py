"""A command killed at any change on disk leaves the old output or the new one, and no traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_killed_or_filled_up_command_leaves_the_old_or_the_new_and_the_next_one_ends_right(
    tmp_path: Path,
) -> None:
    """A sample of each kind of change; `make faults` stops at every one, and at random moments."""
    command = [sys.executable, "-m", "tests.faults._kills", str(tmp_path / "kills"), "--full"]
    command += ["--verbs", "share", "export-pytorch", "--most", "3", "--random", "2"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    verbs = json.loads(done.stdout)["verbs"]
    assert [verb["stopped_at"] for verb in verbs.values()] == [3, 3]
