"""Peer: `optimum-cli export onnx` with its defaults, in a separate environment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from peers._environment import program


def export(model: Path, path: Path) -> None:
    """Export a Hugging Face folder with Optimum's defaults."""
    output = path.parent / f"{path.stem}-folder"
    shutil.rmtree(output, ignore_errors=True)
    command = [
        str(program("optimum", "optimum-cli")),
        "export",
        "onnx",
        "--task",
        "text-classification",
    ]
    subprocess.run([*command, "--model", str(model), str(output)], check=True, capture_output=True)
    shutil.move(output / "model.onnx", path)
    shutil.rmtree(output)


def quantize_dynamic(onnx_file: Path, path: Path) -> None:
    """Quantize an exported model as Optimum calls `quantize_dynamic` for this processor family."""
    before, after = (path.parent / f"{path.stem}-{stage}" for stage in ("float", "dynamic"))
    for folder in (before, after):
        shutil.rmtree(folder, ignore_errors=True)
    before.mkdir(parents=True)
    shutil.copyfile(onnx_file, before / "model.onnx")
    command = [str(program("optimum", "optimum-cli")), "onnxruntime", "quantize"]
    command += ["--avx512_vnni", "--onnx_model", str(before), "-o", str(after)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.move(after / "model_quantized.onnx", path)
    for folder in (before, after):
        shutil.rmtree(folder)
