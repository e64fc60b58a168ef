"""Peers: static quantization of an ONNX file by NNCF, ModelOpt and Optimum, in environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from peers._environment import is_made, run_on_arrays

_SAMPLES = """
import sys, numpy
source, file, made = sys.argv[1:4]
samples = {}
with numpy.load(file) as arrays:
    for key in arrays.files:
        index, _, name = key.partition(".")
        samples.setdefault(index, {})[name] = arrays[key]
samples = [samples[index] for index in sorted(samples)]
"""
_NNCF = """
import nncf, onnx
options = {"model_type": nncf.ModelType.TRANSFORMER} if sys.argv[4] == "transformer" else {}
data = nncf.Dataset(samples)
onnx.save(nncf.quantize(onnx.load(source), data, subset_size=len(samples), **options), made)
"""
_MODELOPT = """
from modelopt.onnx.quantization import quantize
from onnxruntime.quantization.calibrate import CalibrationDataReader

class Reader(CalibrationDataReader):
    def __init__(self): self.rewind()
    def get_next(self): return next(self.left, None)
    def get_first(self): return samples[0]
    def rewind(self): self.left = iter(samples)

quantize(
    source, "int8", calibration_data_reader=Reader(), calibration_eps=["cpu"],
    high_precision_dtype="fp32", output_path=made,
)
"""
# Its reader adds the axis of rows to what it is given.
_OPTIMUM = """
import os, tempfile
from pathlib import Path
from onnxruntime.quantization import CalibrationMethod
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig, CalibrationConfig

config = AutoQuantizationConfig.avx512_vnni(is_static=True, per_channel=True)
calibration = CalibrationConfig("", "", "", len(samples), CalibrationMethod.MinMax)
rows = [{name: array[0] for name, array in sample.items()} for sample in samples]
with tempfile.TemporaryDirectory() as folder:
    quantizer = ORTQuantizer(Path(source))
    ranges = quantizer.fit(
        rows, calibration, os.path.join(folder, "augmented.onnx"), config.operators_to_quantize
    )
    quantizer.quantize(config, folder, "small", ranges)
    (small,) = Path(folder).glob("*_small.onnx")
    os.replace(small, made)
"""
PEERS = {
    "nncf": ("nncf-onnx", _NNCF),
    "modelopt": ("modelopt", _MODELOPT),
    "optimum": ("optimum", _OPTIMUM),
}
"""The environment and the program of each peer."""


def made_peers() -> list[str]:
    """Return the names of the peers whose environments exist."""
    return [name for name, (environment, _) in PEERS.items() if is_made(environment)]


def quantize(
    peer: str,
    model: Path,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    path: Path,
    is_transformer: bool,
) -> None:
    """Quantize an ONNX file to int8 with a peer's defaults; its environment is made when missing.

    Args:
        peer: a key of PEERS.
        model: .onnx, in float.
        samples: input arrays by name, one sample in each.
        path: .onnx to write.
        is_transformer: whether the documentation's settings for transformers are used (NNCF).
    """
    environment, program = PEERS[peer]
    kind = "transformer" if is_transformer else "other"
    run_on_arrays(environment, _SAMPLES + program, model, samples, path, kind)
