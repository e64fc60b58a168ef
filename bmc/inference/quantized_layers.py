"""Quantized layers: inputs and weights of 8 bits or fewer, biases in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from bmc.inference.operators import Add, RecurrentOperator
from bmc.inference.quantizers import (
    OPSET,
    ActivationQuantizer,
    PackedWeight,
    WeightQuantizer,
    onnx_operator,
)
from bmc.inference.replacing import rebuilt_as

_MAX_BIAS_STEPS = 2.0**30
_RECURRENT_WEIGHTS = ("weight_ih_l0", "weight_hh_l0")


class QuantizedLayer:
    """Base of the quantized layers, which also derive from the plain layer of their kind.

    Model directories call the input quantizers `points` and the weight's quantizer `grid`.

    Args:
        enabled: whether the layer quantizes; measurements switch quantization off.
        packed: the packed weight of a form that is frozen for an export; None before.
    """

    points: nn.ModuleList
    grid: WeightQuantizer | None
    packed: nn.Module | None
    enabled = True

    def set_quantizers(
        self, inputs: Sequence[nn.Module], weight: WeightQuantizer | None, scaled: bool
    ) -> None:
        """Set the quantizers of the inputs and of the weight.

        Args:
            inputs: a quantizer for each input; empty where the inputs stay in float.
            weight: quantizer of the weight; None for a weight in float, or no weight.
            scaled: whether input channels are scaled first, which only linear layers can do.
        """
        self.points = nn.ModuleList(inputs)
        self.grid = weight
        self.packed = None

    @property
    def input_quantizers(self) -> nn.ModuleList:
        """The quantizers of the inputs; empty where the inputs stay in float."""
        return self.points

    @property
    def weight_quantizer(self) -> WeightQuantizer | None:
        """The quantizer of the weight; None for a weight in float, or no weight."""
        return self.grid

    def quantize_input(self, values: Tensor, index: int = 0) -> Tensor:
        """Return the input of an index, quantized if the layer quantizes its inputs."""
        if self.input_quantizers and self.enabled:
            return self.input_quantizers[index](values)  # type: ignore[no-any-return]
        return values

    def quantize_weight(self, weight: Tensor) -> Tensor:
        """Return the weight, quantized if the layer quantizes its weight."""
        if self.weight_quantizer and self.enabled:
            return self.weight_quantizer(weight)  # type: ignore[no-any-return]
        return weight

    def pack(self) -> None:
        """Pack the weight into integers for an export; a layer without weight does nothing."""

    def smallest_weight_scales(self, bias: Tensor | None) -> Tensor | None:
        """Return lower bounds of the weight's scales (out) that keep an int32 bias in range.

        ONNX Runtime stores the bias in steps of input scale x weight scale, and clips values that
        exceed int32. The steps of a channel whose weights are all close to zero would be too
        small. The error of those weights is negligible next to such a bias.

        Args:
            bias: bias (out), or None.
        """
        quantizer = self.input_quantizers[0] if self.input_quantizers else None
        if bias is None or not isinstance(quantizer, ActivationQuantizer):
            return None
        return bias.detach().abs() / (quantizer.scale.detach() * _MAX_BIAS_STEPS)


class QuantizedLinear(QuantizedLayer, nn.Linear):
    """A quantized linear layer, whose input channels may be scaled down first.

    Model directories call the factors of the input channels `divided`.
    """

    divided: Tensor | None

    def set_quantizers(
        self, inputs: Sequence[nn.Module], weight: WeightQuantizer | None, scaled: bool
    ) -> None:
        """Set the quantizers of the inputs and of the weight; see `QuantizedLayer`."""
        super().set_quantizers(inputs, weight, scaled)
        self.register_buffer("divided", torch.ones(self.in_features) if scaled else None)

    @property
    def input_factors(self) -> Tensor | None:
        """The factors of the input channels (in); None where the channels are not scaled."""
        return self.divided

    def scale_channels(self, divisors: Tensor) -> None:
        """Divide each input channel by a divisor, and multiply the channel's weights by it.

        Args:
            divisors: divisors of the input channels (in).
        """
        self.divided = 1 / divisors
        self.weight.data *= divisors

    def unscaled_weight(self) -> Tensor:
        """Return the weight (out, in) that applies to unscaled input channels."""
        return self.weight if self.input_factors is None else self.weight * self.input_factors

    def scale_input(self, values: Tensor) -> Tensor:
        """Return values (..., in) with their channels scaled."""
        return values if self.input_factors is None else values * self.input_factors

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return outputs (..., out) for values (..., in)."""
        values = self.quantize_input(self.scale_input(input))
        if self.packed is None:
            return linear(values, self.quantize_weight(self.weight), self.bias)
        weight = self.packed()
        if self.bias is None:
            return values @ weight
        if values.dim() == 2:
            return torch.addmm(self.bias, values, weight)
        return values @ weight + self.bias  # type: ignore[no-any-return]

    def pack(self) -> None:
        """Pack the weight into integers (in, out), the layout of an ONNX MatMul."""
        quantizer = self.input_quantizers[0] if self.input_quantizers and self.enabled else None
        if isinstance(quantizer, ActivationQuantizer) and quantizer.shifted:
            added = quantizer.offset * self.quantize_weight(self.weight).sum(dim=1)
            self.bias = nn.Parameter(added if self.bias is None else self.bias + added)
        if self.weight_quantizer and self.enabled:
            integers, scales = self.weight_quantizer.quantize(
                self.weight, self.smallest_weight_scales(self.bias)
            )
            axis = int(not self.weight_quantizer.group)
            self.packed = PackedWeight(integers.t(), scales.t(), axis, self.weight_quantizer)


class DynamicQuantizedLinear(QuantizedLinear):
    """A quantized linear layer that computes the range of its input at each call."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return outputs (..., out) for values (..., in)."""
        values = input
        if self.packed is None:
            return super().forward(values)
        packed: Any = self.packed
        values = self.scale_input(values)
        integers, scale, zero_point = torch.onnx.ops.symbolic_multi_out(
            "DynamicQuantizeLinear",
            (values,),
            {},
            dtypes=[torch.uint8, torch.float32, torch.uint8],
            shapes=[values.shape, (), ()],
            version=OPSET,
        )
        shape = (*values.shape[:-1], packed.integers.shape[1])
        inputs = (integers, packed.integers, zero_point)
        product = onnx_operator("MatMulInteger", inputs, shape, torch.int32)
        outputs: Tensor = product.float() * (scale * packed.scales)
        return outputs if self.bias is None else outputs + self.bias

    def pack(self) -> None:
        """Pack the weight into integers (in, out)."""
        if self.weight_quantizer and self.enabled:
            integers, scales = self.weight_quantizer.quantize(self.weight)
            self.packed = PackedWeight(integers.t(), scales, 1, self.weight_quantizer)


class QuantizedConv2d(QuantizedLayer, nn.Conv2d):
    """A quantized convolution."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return maps (rows, out, height, width) for maps (rows, in, height, width)."""
        values = input
        packed = self.packed
        weight: Tensor = self.quantize_weight(self.weight) if packed is None else packed()
        outputs: Tensor = self._conv_forward(self.quantize_input(values), weight, self.bias)
        return outputs

    def pack(self) -> None:
        """Pack the weight into integers."""
        if self.weight_quantizer and self.enabled:
            integers, scales = self.weight_quantizer.quantize(
                self.weight, self.smallest_weight_scales(self.bias)
            )
            self.packed = PackedWeight(integers, scales, 0, self.weight_quantizer)


class QuantizedEmbedding(QuantizedLayer, nn.Embedding):
    """A quantized embedding."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return rows of the table (..., width) for int64 indices (...)."""
        indices = input
        table = self.quantize_weight(self.weight) if self.packed is None else self.packed()
        return embedding(indices, table, self.padding_idx)

    def pack(self) -> None:
        """Pack the table into integers."""
        if self.weight_quantizer and self.enabled:
            integers, scales = self.weight_quantizer.quantize(self.weight)
            axis = int(self.weight_quantizer.group > 0)
            self.packed = PackedWeight(integers, scales, axis, self.weight_quantizer)


class QuantizedRecurrent(QuantizedLayer, RecurrentOperator):
    """A recurrent layer with quantized weights of the inputs and of the states."""

    def forward(self, vectors: Tensor) -> tuple[Tensor, None]:
        """Return states (rows, length, hidden) for vectors (rows, length, in)."""
        if torch.onnx.is_in_onnx_export():
            return super().forward(vectors)
        weights: dict[str, Tensor] = dict(self.layer.named_parameters())
        weights |= {name: self.quantize_weight(weights[name]) for name in _RECURRENT_WEIGHTS}
        states, _ = torch.func.functional_call(self.layer, weights, (vectors,))
        return states, None

    def onnx_weights(self) -> tuple[Tensor, Tensor]:
        """Return the weights of inputs and states, each (1, gates x hidden, in), for an export."""
        if self.packed is None:
            return super().onnx_weights()
        input_weight, state_weight = (weight() for weight in self.packed)  # type: ignore[attr-defined]
        return input_weight, state_weight

    def pack(self) -> None:
        """Pack both weights into integers."""
        if self.weight_quantizer and self.enabled:
            packed = []
            for name in _RECURRENT_WEIGHTS:
                weight = self.in_onnx_order(getattr(self.layer, name))
                integers, scales = self.weight_quantizer.quantize(weight)
                packed.append(PackedWeight(integers[None], scales, 1, self.weight_quantizer))
            self.packed = nn.ModuleList(packed)


class QuantizedAdd(QuantizedLayer, Add):
    """A sum of two quantized tensors."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the sum of two tensors of one shape."""
        return self.quantize_input(first) + self.quantize_input(second, 1)


class QuantizedMaxPool2d(QuantizedLayer, nn.MaxPool2d):
    """A max pooling of quantized values."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return pooled maps for maps (rows, channels, height, width)."""
        return super().forward(self.quantize_input(input))  # type: ignore[no-any-return]


class QuantizedAdaptiveAvgPool2d(QuantizedLayer, nn.AdaptiveAvgPool2d):
    """An average pooling of quantized values."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return pooled maps for maps (rows, channels, height, width)."""
        return super().forward(self.quantize_input(input))


WITH_WEIGHTS: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: QuantizedLinear,
    nn.Conv2d: QuantizedConv2d,
    nn.Embedding: QuantizedEmbedding,
    RecurrentOperator: QuantizedRecurrent,
}
QUANTIZABLE: Mapping[type[nn.Module], type[nn.Module]] = {
    **WITH_WEIGHTS,
    Add: QuantizedAdd,
    nn.MaxPool2d: QuantizedMaxPool2d,
    nn.AdaptiveAvgPool2d: QuantizedAdaptiveAvgPool2d,
}
"""The class of the quantized layer for each class of layers that can be quantized."""
FLOAT_INPUTS = (nn.Embedding, RecurrentOperator)
"""Layers whose inputs stay in float: indices, or values that no ONNX operator takes in 8 bits."""
_QUANTIZATION_STATE = ("points", "grid", "divided", "packed", "enabled")
_PLAIN = {quantized: float_layer for float_layer, quantized in QUANTIZABLE.items()}
_PLAIN[DynamicQuantizedLinear] = nn.Linear


def plain_layer(layer: Any) -> nn.Module:
    """Return the plain layer of a quantized layer, with the same weights."""
    if isinstance(layer, QuantizedLinear):
        layer.weight.data = layer.unscaled_weight().detach()
    float_layer = rebuilt_as(_PLAIN[type(layer)], layer)
    for state in (float_layer._modules, float_layer._buffers, vars(float_layer)):
        for name in _QUANTIZATION_STATE:
            state.pop(name, None)
    return float_layer
