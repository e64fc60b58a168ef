"""A search whose candidates are trained on a Ray cluster of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")
pytest.importorskip("ray", reason="the extra `ray` is not installed")

from bmc.errors import SettingError
from bmc.search.options import SearchOptions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on": "slurm"}, "on is 'slurm'; it must be ray, or ray://HOST:PORT"),
        ({"workers": 0}, "workers is 0; it must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        SearchOptions(**settings)


@pytest.mark.slow
def test_workers_of_a_cluster_train_the_candidates(digits_model: Path, tmp_path: Path) -> None:
    """The command runs in a process of its own: a cluster stays until the process ends."""
    command = [sys.executable, "-m", "bmc", "compress", str(digits_model), "--target", "onnx"]
    command += ["--max-drop", "50", "--max-size", "0.8x", "--minimize", "size", "--threads", "1"]
    command += ["--trials", "3", "--finalists", "1", "--on", "ray", "--workers", "2"]
    command += ["--output", str(tmp_path / "small")]
    environment = {**os.environ, "BMC_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Ray: 2 cores" in done.stderr
    assert (tmp_path / "small-1-onnx" / "manifest.json").is_file()
