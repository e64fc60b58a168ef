"""What each target wants of a quantized graph: data alone; `_lower.py` acts on it.

The canonical graph has symmetric int8 everywhere, zero point 0, and biases in float. The reasons
for what differs were measured: docs/decisions/0011-dialects.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """How a target wants a quantized graph.

    Args:
        unsigned: inputs are uint8 with zero point 128: the same numbers as int8 with 0.
        whole_bias: biases of quantized linears and convolutions are int32, with the product of
            both scales; they are rounded, to a step far below an output's.
        look_up_first: a row is looked up in the whole numbers and dequantized then, not the table.
        refused: precisions that the target cannot load, or only computes in fp32.
    """

    unsigned: bool
    whole_bias: bool
    look_up_first: bool
    refused: tuple[str, ...]


ONNX = Dialect(unsigned=True, whole_bias=True, look_up_first=True, refused=("bf16",))
OPENVINO = Dialect(
    unsigned=False, whole_bias=False, look_up_first=False, refused=("int8-dynamic",)
)
TENSORRT = Dialect(
    unsigned=False, whole_bias=False, look_up_first=False, refused=("int8-dynamic",)
)
DIALECTS = {"onnx": ONNX, "openvino": OPENVINO, "tensorrt": TENSORRT}
