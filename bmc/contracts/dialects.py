"""How each target wants a quantized graph to be written: data, on which `bmc.export.lowering` acts.

The canonical graph has int8 with zero point 0, or uint8 with any zero point for inputs that lie on
one side of 0 or nearly so, and biases in float. docs/decisions/0011-a-quantized-model-is-its-
inference-form.md says why targets differ.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """Describe how a target wants a graph to be written; `export/dialects/NAME.py` has each.

    Args:
        activations: what quantized activations are. "uint8": any zero point; int8 with zero point 0
            becomes uint8 with 128, the same numbers. "both": int8 or uint8 with zero point 0.
            "int8": zero point 0. For the last two, what a linear layer reads is shifted by a
            constant, and its bias makes up for it, the same numbers; other layers get symmetric
            scales.
        int32_bias: biases of quantized linear layers and convolutions are int32, in steps of input
            scale x weight scale; the rounding is far below a step of the output.
        gather_before_dequantize: an embedding's rows are gathered as integers and then dequantized,
            not the table; with 4 bits that is an operator of ONNX Runtime's own.
        explicit_zero_points: the zero points of int8 weights are written, though they are 0.
        unsupported: precisions that the target cannot load, or only computes in fp32.
        float_weights_only: operators whose weights the target takes in float only.
        fused_attention: attention is one operator; opset 23 has it.
    """

    activations: str
    int32_bias: bool
    gather_before_dequantize: bool
    explicit_zero_points: bool
    unsupported: tuple[str, ...]
    float_weights_only: tuple[str, ...] = ()
    fused_attention: bool = False
