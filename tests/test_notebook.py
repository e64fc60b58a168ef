"""The example notebook runs from top to bottom, shows tables, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests._vnni import needs_vnni

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "python" / "compress.ipynb"
_FASTER = """
import pytest
from tests import _once, _timing
_once.collect_rarely()
_once.keep(pytest.MonkeyPatch())
_timing.shorten(pytest.MonkeyPatch())
"""
_EPOCHS = {"epochs=15": "epochs=4", "epochs=5": "epochs=2"}  # enough for what the test asks


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@needs_vnni
def test_the_notebook_runs_and_shows_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "faster.py").write_text(_FASTER)
    text = NOTEBOOK.read_text()
    for typed, fewer in _EPOCHS.items():
        assert text.count(typed) == 1
        text = text.replace(typed, fewer)
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    (tmp_path / "run.ipynb").write_text(json.dumps(notebook))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    shown = [output.data for output in outputs if "data" in output]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    tables = [page for page in pages if page.startswith("<table>")]
    assert len(tables) == 6, "five handles and a comparison"
    assert sum("recall_of_eight" in page for page in tables) == 2
    assert any("bmc report" in data.get("text/plain", "") for data in shown), "compare().show()"
