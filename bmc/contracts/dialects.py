"""Contract of ONNX dialects: how a target wants a quantized graph to be written.

`bmc.export.lowering` rewrites the canonical graph in the dialect of a target. In the canonical
graph, activations are int8 with zero point 0, or uint8 with any zero point where the values are
mostly positive; biases are in float.
docs/decisions/0011-a-quantized-model-is-its-inference-form.md says why targets differ.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """Describe how a target wants a graph to be written; `export/dialects/NAME.py` defines one.

    Args:
        activations: type of quantized activations. "uint8": uint8 with any zero point; int8 with
            zero point 0 becomes uint8 with zero point 128, which represents the same values.
            "both": int8 or uint8, with zero point 0. "int8": int8 with zero point 0. For "both"
            and "int8", inputs of linear layers are shifted by a constant and their biases
            compensate for the shift, which does not change the values; other layers get symmetric
            scales.
        int32_bias: whether biases of quantized linear layers and convolutions are int32, in steps
            of input scale x weight scale, which are far finer than a step of the output.
        gather_before_dequantize: whether an embedding gathers integer rows and dequantizes only
            these, instead of dequantizing the table; for 4 bits this needs a contrib operator of
            ONNX Runtime.
        explicit_zero_points: whether the zero points of int8 weights, all 0, are written.
        unsupported: precisions that the target cannot load, or computes in fp32.
        float_weights_only: operators whose weights the target accepts only in float.
        fused_attention: whether attention is written as one operator, which needs opset 23.
    """

    activations: str
    int32_bias: bool
    gather_before_dequantize: bool
    explicit_zero_points: bool
    unsupported: tuple[str, ...]
    float_weights_only: tuple[str, ...] = ()
    fused_attention: bool = False
