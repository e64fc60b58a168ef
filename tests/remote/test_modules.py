"""Which modules a runner takes along."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bmc.contracts.tasks import TASKS
from bmc.plugins import names
from bmc.remote import modules
from bmc.remote.parcel import Parcel

ROOTS = ("bmc.remote.runner", "bmc.remote.golden", "bmc.measure.worker")


def all_modules() -> modules.Modules:
    """Return the modules for bundles of every kind and task, for ONNX Runtime and OpenVINO."""
    found = [f"bmc.inputs.{kind}" for kind in names("bmc.inputs")]
    found += [TASKS.origin(task).module for task in TASKS.names()]
    for target in ("onnx", "openvino"):
        found += [f"bmc.bundle_formats.{target}", f"bmc.targets.{target}"]
    return modules.needed_by([*ROOTS, *found])


def test_only_numpy_tokenizers_and_the_runtimes_are_needed() -> None:
    assert all_modules().packages == ("numpy", "onnxruntime", "openvino", "tokenizers")


def test_nothing_that_trains_or_exports_is_sent(parcel: Parcel) -> None:
    sent = {name.split("/")[1] for name in parcel.files if name.startswith("bmc/")}
    assert not sent & {"models", "training", "compress", "export", "workflows", "cli", "api"}
    assert "bmc/targets/openvino.py" not in parcel.files
    assert sum(each.size for name, each in parcel.files.items() if name[:4] == "bmc/") < 1e6


def test_what_is_sent_is_valid_in_python_3_10(tmp_path: Path) -> None:
    paths = [str(path) for path in all_modules().files.values()]
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E9"]
    done = subprocess.run(
        [*command, "--target-version", "py310", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_what_is_sent_uses_no_function_that_python_3_10_lacks(tmp_path: Path) -> None:
    names_of = [name.removesuffix(".py").replace("/", ".") for name in all_modules().files]
    arguments = [part for name in names_of for part in ("-m", name.removesuffix(".__init__"))]
    options = ["--python-version", "3.10", "--follow-imports", "silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", str(tmp_path), *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    # Self is imported for type checkers alone.
    errors = [line for line in done.stdout.splitlines() if "[attr-defined]" in line]
    assert [line for line in errors if '"typing" has no attribute "Self"' not in line] == []
    runtime = [path for path in all_modules().files.values() if _imports_self(path)]
    assert runtime == []


def _imports_self(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    return any(line.startswith("from typing import") and "Self" in line for line in lines)


def test_an_import_that_a_module_can_do_without_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        "from __future__ import annotations",
        "import json, numpy.linalg",
        "from typing import TYPE_CHECKING",
        "if TYPE_CHECKING:",
        "    import torch",
        "try:",
        "    import tensorrt",
        "except ModuleNotFoundError:",
        "    import tensorrt_rtx",
        "def show():",
        "    import rich",
        "    from bmc.terminal import Terminal",
    )
    (tmp_path / "lonely.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    needed = modules.needed_by(["lonely"])
    assert needed.packages == ("numpy",)
    assert {"lonely.py", "bmc/terminal.py", "bmc/__init__.py"} <= set(needed.files)
    assert not any("torch" in name for name in needed.files)


def test_a_runner_imports_nothing_but_what_is_sent_and_needed(
    parcel: Parcel, tmp_path: Path, blocked: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    from bmc.remote.parcel import write

    write(parcel, tmp_path / "runner")
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path / 'runner')!r})\n"
        "import bmc.remote.runner, bmc.remote.golden, bmc.measure.worker\n"
        f"assert bmc.remote.runner.__file__.startswith({str(tmp_path)!r})\n"
        f"bmc.measure.worker.bundles.read(sys.modules['pathlib'].Path({str(tmp_path)!r}, "
        "'runner', 'bundles', 'onnx')).encoder\n"
    )
    done = blocked(code, "torch", "rich", "psutil", "typer", "onnx", "openvino", "PIL")
    assert done.returncode == 0, done.stderr
