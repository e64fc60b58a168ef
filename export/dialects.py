"""What each target wants of a graph: data alone; `_lower.py` acts on it.

The canonical graph has int8 with zero point 0, or uint8 with any for inputs that lie on one side of
0 or nearly so, and biases in float. Why targets differ stands in
docs/decisions/0011-a-quantized-model-is-its-inference-form.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """How a target wants a graph.

    Args:
        target: whose dialect it is.
        inputs: "uint8": with any zero point; int8 about 0 becomes uint8 about 128, the same
            numbers. "both": int8 about 0, or uint8 from 0; "int8": about 0. For these two, what a
            linear layer reads on another grid is moved by a constant and its bias takes that back,
            the same numbers; other layers' grids reach as far below 0 as above it.
        whole_bias: biases of quantized linears and convolutions are int32, with the product of
            both scales; they are rounded, to a step far below an output's.
        look_up_first: a row is looked up in the whole numbers and dequantized then, not the table;
            with 4 bits that is an operator of ONNX Runtime's own.
        weight_zeros: the zero points of int8 weights are written, though they are 0.
        refused: precisions that the target cannot load, or only computes in fp32.
        float_alone: operators whose weights it takes in float alone.
        whole_attention: attention is one operator; opset 23 has it.
    """

    target: str
    inputs: str
    whole_bias: bool
    look_up_first: bool
    weight_zeros: bool
    refused: tuple[str, ...]
    float_alone: tuple[str, ...] = ()
    whole_attention: bool = False


ONNX = Dialect(
    "onnx",
    inputs="uint8",
    whole_bias=True,
    look_up_first=True,
    weight_zeros=True,
    refused=("bf16",),
    whole_attention=True,
)
OPENVINO = Dialect(
    "openvino",
    inputs="both",
    whole_bias=False,
    look_up_first=False,
    weight_zeros=False,
    refused=("int8-dynamic",),
)
TENSORRT = Dialect(
    "tensorrt",
    inputs="int8",
    whole_bias=False,
    look_up_first=False,
    weight_zeros=False,
    refused=("int8-dynamic",),
    float_alone=("GRU",),  # the builder of TensorRT for RTX 1.7 fails with an internal error
)
EVERY = (ONNX, OPENVINO, TENSORRT)
