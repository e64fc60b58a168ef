"""Peer: `optimum-cli export onnx`, as anyone would type it, in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_PINS = _HERE / "optimum.txt"
_ENVIRONMENT = _HERE / "env-optimum"


def export(model: Path, path: Path) -> None:
    """Export a Hugging Face folder with Optimum's defaults."""
    output = path.parent / f"{path.stem}-folder"
    shutil.rmtree(output, ignore_errors=True)
    command = [str(_program("optimum-cli")), "export", "onnx", "--task", "text-classification"]
    subprocess.run([*command, "--model", str(model), str(output)], check=True, capture_output=True)
    shutil.move(output / "model.onnx", path)
    shutil.rmtree(output)


def _program(name: str) -> Path:
    """Return a program of the environment, which is made first if its pins changed."""
    stamp = _ENVIRONMENT / "made-from.txt"
    folder = _ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
    if not stamp.is_file() or stamp.read_text() != _PINS.read_text():
        print(f"making {_ENVIRONMENT} (about 1.3 GB)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)], check=True)
        install = [str(folder / "python"), "-m", "pip", "install", "-q", "-r", str(_PINS)]
        subprocess.run(install, check=True)
        shutil.copyfile(_PINS, stamp)
    return folder / name
