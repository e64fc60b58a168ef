"""`make docs` builds the site without a warning; its tables are those of benchmarks/results."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bmc.cli import app
from tests._pages import ROOT

_FIGURES = Path("benchmarks") / "README.md"
_SCRIPTS = ("ablation", "baselines", "compression", "demo", "exports", "quantization", "speed")


def test_the_site_is_built_without_a_warning_and_can_be_searched(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "searchindex.js").is_file()
    reference = (tmp_path / "reference" / "cli.html").read_text(encoding="utf-8")
    assert all(f"bmc {verb}" in reference for verb in app.VERBS)
    assert "bmc.train" in (tmp_path / "reference" / "api.html").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_committed_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which has imported what takes the scripts longest."""
    (tmp_path / "docs").mkdir()
    copy = Path(shutil.copy(ROOT / "docs" / "results.md", tmp_path / "docs"))
    shutil.copytree(
        ROOT / "benchmarks",
        tmp_path / "benchmarks",
        ignore=shutil.ignore_patterns("runs", "env-*", "__pycache__"),
    )
    readme = Path(shutil.copy(ROOT / "README.md", tmp_path))
    pages = {page: page.read_text(encoding="utf-8") for page in (copy, readme, tmp_path / _FIGURES)}
    for page, text in pages.items():
        spoiled = re.sub(r"(<!-- \w+ -->\n)", r"\1| of another run |\n", text)
        page.write_text(spoiled, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "benchmarks")
    ours = {path.stem for path in (tmp_path / "benchmarks").iterdir()}
    assert not ours & sys.modules.keys()
    try:
        for name in _SCRIPTS:
            monkeypatch.setattr(sys, "argv", [name, "--table"])
            assert importlib.import_module(name).main() == 0
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
            del sys.modules[name]
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text
