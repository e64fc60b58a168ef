"""How long do an attention and a quantizer take, in two forms each?

    python benchmarks/kernels.py        (one minute)

ONNX Runtime: an attention of 12 heads of 32 as several operators, and as one, which is what
`bmc export` makes of it. OpenVINO: a matrix of 128 x 384 quantized as it is, and as one of
several, as `bmc export` writes it, each before an integer matmul; its own profile. Medians
of calls in turn, one thread. Writes results/kernels.json.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import openvino
from _common import finish
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bmc.export import NEWEST_OPSET
from bmc.export.dialects.onnx import DIALECT as ONNX
from bmc.export.lowering import lower
from bmc.export.openvino import optimize

HEADS, SIZE = 12, 32
WIDTH = HEADS * SIZE
ROUNDS, CALLS = 12, 60
_FORMS = ("in parts", "one operator")
OPSET, IR = 21, 10


def main() -> int:
    """Measure both, each way."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    timings: dict[str, Any] = {"attention_us": {}, "quantizer_us": {}}
    for length in (32, 128):
        calls = {name: _attention(length, name == "one operator") for name in _FORMS}
        timings["attention_us"][length] = _in_turn(calls)
        print(f"attention, {length} tokens: {timings['attention_us'][length]}", flush=True)
    for name, eased in (("a matrix", False), ("one of several", True)):
        timings["quantizer_us"][name] = _quantizer(eased)
    print(f"quantizer: {timings['quantizer_us']}")
    return finish("kernels", [], timings)


def _attention(length: int, fused: bool) -> Callable[[], object]:
    """Return a function that computes one attention of a number of tokens in ONNX Runtime."""
    held = {"split": [1, -1, HEADS, SIZE], "joined": [-1, WIDTH]}
    nodes = [helper.make_node("Split", ["x"], list("qkv"), axis=-1, num_outputs=3)]
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes.append(helper.make_node("Reshape", [name, "split"], [f"{name}s"]))
        nodes.append(helper.make_node("Transpose", [f"{name}s"], [f"{name}t"], perm=order))
    nodes += [
        helper.make_node("MatMul", ["qt", "kt"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "vt"], ["seen"]),
        helper.make_node("Transpose", ["seen"], ["back"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["back", "joined"], ["y"]),
    ]
    shapes: dict[str, list[Any]] = {"x": ["tokens", 3 * WIDTH], "mask": [1, 1, length, length]}
    constants = {name: np.array(shape, np.int64) for name, shape in held.items()}
    model = onnx_ir.from_proto(onnx.shape_inference.infer_shapes(_model(nodes, shapes, constants)))
    if fused:
        lower(model, ONNX, max_opset=NEWEST_OPSET)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    file = onnx_ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(length, 3 * WIDTH)).astype(np.float32)
    fed = {"x": x, "mask": np.zeros((1, 1, length, length), np.float32)}
    return lambda: session.run(None, fed)


def _quantizer(eased: bool, length: int = 128) -> float:
    """Return the microseconds of putting a matrix on its grid, by OpenVINO's profile."""
    rng = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(0.02, np.float32),
        "zero": np.array(0, np.int8),
        "weight": rng.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8),
        "step": np.array(0.01, np.float32),
    }
    nodes = [
        helper.make_node("Abs", ["x"], ["hidden"]),
        helper.make_node("QuantizeLinear", ["hidden", "scale", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["read"]),
        helper.make_node("DequantizeLinear", ["weight", "step"], ["multiplied"]),
        helper.make_node("MatMul", ["read", "multiplied"], ["product"]),
        helper.make_node("Add", ["product", "hidden"], ["y"]),  # so that it does not fuse
    ]
    file = _model(nodes, {"x": ["rows", WIDTH]}, constants).SerializeToString()
    graph = openvino.Core().read_model(file)
    if eased:
        optimize(graph)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    request = openvino.Core().compile_model(graph, "CPU", hints).create_infer_request()
    x = rng.normal(size=(length, WIDTH)).astype(np.float32)
    seen = []
    for _ in range(CALLS):
        request.infer([x])
        kinds = {
            event.node_type: event.real_time.total_seconds() for event in request.profiling_info
        }
        seen.append(kinds["FakeQuantize"] * 1e6)
    return float(statistics.median(seen))


def _model(
    nodes: list[onnx.NodeProto], shapes: dict[str, list[Any]], held: dict[str, NDArray[Any]]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "kernel",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["tokens", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _in_turn(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median microseconds of each function; the functions alternate."""
    seen: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for _ in range(CALLS):
                before = time.perf_counter_ns()
                call()
                seen[name].append(time.perf_counter_ns() - before)
    return {name: statistics.median(times) / 1e3 for name, times in seen.items()}


if __name__ == "__main__":
    sys.exit(main())
