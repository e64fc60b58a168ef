"""Peer: NNCF's quantization of an OpenVINO model with accuracy control."""

from __future__ import annotations

from pathlib import Path

from peers._environment import run_on_file
from peers.labeled import LabeledRows

_PROGRAM = """
import sys, numpy, nncf, openvino
from nncf import DropType

source, file, made, points = sys.argv[1:]
with numpy.load(file) as stored:
    arrays = {key: stored[key] for key in stored.files}


def rows(part):
    start = part + "."
    inputs = {k[len(start):]: a for k, a in arrays.items() if k.startswith(start)}
    labels = inputs.pop("labels")
    return [({n: a[i : i + 1] for n, a in inputs.items()}, labels[i]) for i in range(len(labels))]


def accuracy(compiled, items):
    right = [compiled(inputs)[0].argmax(-1)[0] == label for inputs, label in items]
    return float(numpy.mean(right)), None


model = openvino.Core().read_model(source)
calibration, validation = rows("calibration"), rows("validation")
if points == "none":
    small = nncf.quantize(model, nncf.Dataset(calibration, lambda item: item[0]))
else:
    small = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(calibration, lambda item: item[0]),
        validation_dataset=nncf.Dataset(validation),
        validation_fn=accuracy,
        max_drop=float(points) / 100,
        drop_type=DropType.ABSOLUTE,
    )
openvino.save_model(small, made, compress_to_fp16=False)
"""


def quantize(model: Path, rows: LabeledRows, path: Path, points: float | None) -> None:
    """Quantize an OpenVINO model with NNCF's defaults; write it to `path`.

    Args:
        model: .xml, in float.
        rows: rows to calibrate with and to score.
        path: .xml.
        points: percentage points of accuracy that may be lost: layers go back to float until that
            is so; None for plain `nncf.quantize`.
    """
    run_on_file("nncf", _PROGRAM, model, rows.named(), path, str(points).lower())
