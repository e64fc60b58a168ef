"""How much memory and time does it take to quantize a large ONNX file of another tool?

    python benchmarks/onnx_large.py                     (100 MB of weights; three minutes)
    python benchmarks/onnx_large.py --gigabytes 2.5 --samples 16 --length 16    (ten minutes)
    python benchmarks/onnx_large.py --trial             (10 MB, 16 samples; half a minute)

The file is a transformer encoder as exporters write it: word embeddings, and layers of attention
and of a feed-forward network with GELU. Its weights are drawn, the same ones each time, and lie in
a file beside it. `bmc quantize` runs in a process of its own on `--samples` texts of `--length`
tokens; the resident memory of that process and of its children together is read every 50 ms. Pages
that processes share count in each.

Writes benchmarks/results/onnx_large-SIZE.json. Exit code 1: 100 MB take more than 2 GB or two
minutes, or a larger file takes more than twice its size.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from _common import RUNS, Bar, finish
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from bmc import workspace
from bmc.bundle import read

MAX_GB, MAX_SECONDS, MAX_RATIO = 2.0, 120, 2.0
_INTERVAL = 0.05  # seconds between two readings of the memory
_WORDS, _HEAD = 8000, 64
_FILE, _WEIGHTS = "model.onnx", "model.onnx.data"


@dataclass(frozen=True)
class Size:
    """The sizes of an encoder.

    Args:
        hidden: width of a token's vector.
        layers: number of layers.
    """

    hidden: int
    layers: int

    @staticmethod
    def of(gigabytes: float) -> Size:
        """Return the sizes of an encoder with about this many GB of weights in float32."""
        hidden = 256 if gigabytes < 0.05 else 512 if gigabytes < 0.5 else 2048
        rest = gigabytes * 1e9 - 4 * _WORDS * hidden
        return Size(hidden, max(1, round(rest / (4 * 12 * hidden**2))))


def main() -> int:
    """Make the file, quantize it, and report memory and time."""
    options = _options()
    size = Size.of(options.gigabytes)
    folder = RUNS / "onnx_large" / f"{size.hidden}-{size.layers}"
    os.environ["BMC_HOME"] = str(folder / "runs")
    file = folder / _FILE
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_encoder(file, size)
    bytes_of_file = sum(path.stat().st_size for path in (file, folder / _WEIGHTS) if path.exists())
    rows = np.random.default_rng(1).integers(0, _WORDS, (options.samples, options.length))
    np.savez(folder / "rows.npz", input_ids=rows)
    command = [sys.executable, "-m", "bmc", "quantize", str(file), "--allow-slower", "--force"]
    peak, seconds = _watched([*command, "--samples", str(folder / "rows.npz")])
    bundle = read(workspace.root() / f"{folder.name}-int8-onnx")
    bars = _bars(options.gigabytes, peak, seconds, bytes_of_file)
    content = {
        "file": {"bytes": bytes_of_file, "hidden": size.hidden, "layers": size.layers},
        "samples": options.samples,
        "length": options.length,
        "peak_gb": peak / 1e9,
        "seconds": seconds,
        "bundle_bytes": bundle.model_size(),
        "cosine": bundle.manifest.parity["cosine"],
        "in_float": len(_names(bundle.manifest.build.get("in_float"))),
    }
    name = "trial" if options.trial else f"{options.gigabytes:g}"
    return finish(f"onnx_large-{name}", bars, content)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--gigabytes", type=float, default=0.1)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--length", type=int, default=64, help="tokens of a sample")
    parser.add_argument("--trial", action="store_true", help="10 MB, 16 samples")
    options = parser.parse_args()
    if options.trial:
        options.gigabytes, options.samples, options.length = 0.01, 16, 16
    return options


def _bars(gigabytes: float, peak: float, seconds: float, size: int) -> list[Bar]:
    found = f"{peak / 1e9:.2f} GB"
    if size > 1e9:
        must = f"{gigabytes:g} GB take at most twice their size"
        return [Bar(must, f"{peak / size:.2f} times, {found}", peak <= MAX_RATIO * size)]
    return [
        Bar(f"at most {MAX_GB:g} GB of memory", found, peak <= MAX_GB * 1e9),
        Bar(f"at most {MAX_SECONDS} seconds", f"{seconds:.0f} s", seconds <= MAX_SECONDS),
    ]


def _names(entry: object) -> list[Any]:
    return entry if isinstance(entry, list) else []


def _watched(command: list[str]) -> tuple[float, float]:
    """Run a command; return the peak of its resident memory in bytes, and its seconds."""
    started, peak = time.perf_counter(), 0
    with subprocess.Popen(command) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _resident(watched))
            time.sleep(_INTERVAL)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return peak, seconds


def _resident(process: psutil.Process) -> int:
    """Return the bytes of resident memory of a process and its children."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total


def write_encoder(file: Path, size: Size) -> None:
    """Write an encoder; its weights go to a file beside it, one at a time.

    Args:
        file: the ONNX file.
        size: the sizes of the encoder.
    """
    builder = _Builder(file, size)
    with builder:
        ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("batch", "tokens"))
        shape = ("batch", "tokens", size.hidden)
        states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)
        value = builder.embeddings("input_ids")
        for index in range(size.layers):
            value = builder.layer(value, index)
        builder.add("Identity", [value], "last_hidden_state")
    graph = helper.make_graph(builder.nodes, "encoder", [ids], [states], builder.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file.write_bytes(model.SerializeToString())


class _Builder:
    """The nodes and weights of an encoder.

    Args:
        file: the ONNX file.
        size: the sizes of the encoder.
    """

    def __init__(self, file: Path, size: Size) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._path, self._hidden = file.with_name(_WEIGHTS), size.hidden
        self._random = np.random.default_rng(0)
        self._data: BinaryIO | None = None

    def __enter__(self) -> None:
        self._data = self._path.open("wb")

    def __exit__(self, *_: object) -> None:
        if self._data is not None:
            self._data.close()

    def embeddings(self, ids: str) -> str:
        """Add the word embeddings; return the name of the tokens' vectors."""
        self.weight("words", (_WORDS, self._hidden), 1.0)
        self.add("Gather", ["words", ids], "embedded")
        return self.normalized("embedded", "embeddings")

    def layer(self, value: str, index: int) -> str:
        """Add a layer; return the name of its output."""
        name = f"layer.{index}"
        attended = self.attention(value, name)
        added = self.add("Add", [value, attended], f"{name}/added")
        middle = self.normalized(added, f"{name}/attention_norm")
        wide = self.linear(middle, f"{name}/wide", self._hidden, 4 * self._hidden)
        narrow = self.linear(
            self.gelu(wide, name), f"{name}/narrow", 4 * self._hidden, self._hidden
        )
        added = self.add("Add", [middle, narrow], f"{name}/added_wide")
        return self.normalized(added, f"{name}/norm")

    def attention(self, value: str, name: str) -> str:
        """Add self-attention with heads of 64 values."""
        heads = self._hidden // _HEAD
        shape = self.constant(f"{name}/heads", np.array([0, 0, heads, _HEAD], np.int64))
        parts = []
        for part, order in (
            ("query", (0, 2, 1, 3)),
            ("key", (0, 2, 3, 1)),
            ("value", (0, 2, 1, 3)),
        ):
            projected = self.linear(value, f"{name}/{part}", self._hidden, self._hidden)
            split = self.add("Reshape", [projected, shape], f"{name}/{part}_split")
            parts.append(self.add("Transpose", [split], f"{name}/{part}_heads", perm=order))
        scores = self.add("MatMul", parts[:2], f"{name}/scores")
        root = self.constant(f"{name}/root", np.array(math.sqrt(_HEAD), np.float32))
        scaled = self.add("Div", [scores, root], f"{name}/scaled")
        shares = self.add("Softmax", [scaled], f"{name}/shares", axis=-1)
        mixed = self.add("MatMul", [shares, parts[2]], f"{name}/mixed")
        joined = self.add("Transpose", [mixed], f"{name}/joined", perm=(0, 2, 1, 3))
        whole = self.constant(f"{name}/whole", np.array([0, 0, self._hidden], np.int64))
        flat = self.add("Reshape", [joined, whole], f"{name}/flat")
        return self.linear(flat, f"{name}/output", self._hidden, self._hidden)

    def gelu(self, value: str, name: str) -> str:
        """Add GELU as exporters of opset 17 spell it."""
        numbers = {"root2": math.sqrt(2), "one": 1.0, "half": 0.5}
        for key, number in numbers.items():
            self.constant(f"{name}/{key}", np.array(number, np.float32))
        divided = self.add("Div", [value, f"{name}/root2"], f"{name}/divided")
        erf = self.add("Erf", [divided], f"{name}/erf")
        shifted = self.add("Add", [erf, f"{name}/one"], f"{name}/shifted")
        product = self.add("Mul", [value, shifted], f"{name}/product")
        return self.add("Mul", [product, f"{name}/half"], f"{name}/gelu")

    def linear(self, value: str, name: str, inputs: int, outputs: int) -> str:
        """Add a linear layer with a bias."""
        weight = self.weight(f"{name}.weight", (inputs, outputs), 1 / math.sqrt(inputs))
        bias = self.weight(f"{name}.bias", (outputs,), 0.1)
        product = self.add("MatMul", [value, weight], f"{name}/product")
        return self.add("Add", [product, bias], f"{name}/sum")

    def normalized(self, value: str, name: str) -> str:
        """Add a layer normalization."""
        scale = self.constant(f"{name}.weight", np.ones(self._hidden, np.float32))
        bias = self.constant(f"{name}.bias", np.zeros(self._hidden, np.float32))
        return self.add("LayerNormalization", [value, scale, bias], f"{name}/normalized", axis=-1)

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a small constant; return its name."""
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def weight(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        """Add a weight of drawn values; return its name."""
        if self._data is None:
            raise RuntimeError("the file of weights is not open")
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        start = self._data.tell()
        for rows in _blocks(shape):
            values = self._random.standard_normal(rows, np.float32) * np.float32(scale)
            self._data.write(values.tobytes())
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": _WEIGHTS, "offset": start, "length": self._data.tell() - start}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        self.weights.append(tensor)
        return name


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the shapes of blocks of at most 256 rows."""
    for start in range(0, shape[0], 256):
        yield (min(256, shape[0] - start), *shape[1:])


if __name__ == "__main__":
    sys.exit(main())
