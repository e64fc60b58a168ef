"""Peer: `nncf.quantize` of an OpenVINO model with its defaults, in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers._environment import program

_PROGRAM = """
import sys, numpy, nncf, openvino
source, rows, made, kind = sys.argv[1:]
model = openvino.Core().read_model(source)
saved = numpy.load(rows)
names = sorted({key.partition("/")[0] for key in saved.files})
batches = [{n: saved[f"{n}/{i}"] for n in names} for i in range(len(saved.files) // len(names))]
chosen = {"model_type": nncf.ModelType.TRANSFORMER} if kind == "transformer" else {}
quantized = nncf.quantize(model, nncf.Dataset(batches), **chosen)
openvino.save_model(quantized, made, compress_to_fp16=False)
"""


def quantize(
    model: Path, batches: Sequence[dict[str, NDArray[np.generic]]], path: Path, transformer: bool
) -> None:
    """Quantize a .onnx or .xml file; write OpenVINO's IR to `path`.

    Args:
        model: in float.
        batches: named inputs; NNCF takes the first 300.
        path: .xml.
        transformer: its documentation wants that said of one, and changes nothing else.
    """
    rows = path.with_suffix(".npz")
    arrays = {f"{name}/{n}": array for n, one in enumerate(batches) for name, array in one.items()}
    np.savez(rows, **arrays)  # type: ignore[arg-type]  NumPy's stub takes its own flag for an array
    python = str(program("nncf", "python"))
    kind = "transformer" if transformer else "other"
    command = [python, "-c", _PROGRAM, str(model), str(rows), str(path), kind]
    subprocess.run(command, check=True, capture_output=True)
    rows.unlink()
