"""Which package imports which: the contract holds, its picture is up to date, tests use no more."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_package_imports_only_what_stands_below_it() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = run("-c", code)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_the_picture_and_the_table_show_the_imports_that_there_are() -> None:
    done = run("tools/architecture.py", "--check")
    assert done.returncode == 0, done.stdout


def private(name: str) -> bool:
    """Tell whether a dotted name has a part that is private to its package."""
    return any(re.match(r"_(?!_)", part) for part in name.split("."))


def private_names_in(path: Path) -> list[str]:
    """Return the private modules and names of bmc that a file outside bmc uses."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: list[str] = []
    modules: set[str] = set()  # what an import binds to a module of bmc, or a name of one
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.startswith("bmc")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bmc":
            names += [f"{node.module}.{alias.name}" for alias in node.names]
            modules |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += re.findall(r"^bmc(?:\.\w+)+$", node.value)  # monkeypatch.setattr("bmc...")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names += [f"{node.value.id}.{node.attr}"] * (node.value.id in modules)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "monkeypatch.setattr":
            target, name = map(ast.unparse, node.args[:2])
            names += [f"{target}.{name[1:-1]}"] * (target in modules)
    return [name for name in names if private(name)]


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "docs", "examples", "tools"])
def test_nobody_outside_bmc_uses_what_is_private_in_it(folder: str) -> None:
    used = {
        path.relative_to(ROOT).as_posix(): names
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "env-" not in path.as_posix() and (names := private_names_in(path))
    }
    assert used == {}


def test_a_private_name_is_found_however_it_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "user.py"
    lines = (
        "import bmc.data._csv",
        "from bmc.data import _csv",
        "from bmc.models import cnn as small, vgg",
        "small._build()",
        "monkeypatch.setattr(vgg, '_WIDTHS', ())",
        "monkeypatch.setattr('bm' 'c.data.files._BOUND', 1)",
        "vgg.__name__, vgg.build, self._own",
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    names = sorted(name.rpartition(".")[2] for name in private_names_in(path))
    assert names == ["_BOUND", "_WIDTHS", "_build", "_csv", "_csv"]
