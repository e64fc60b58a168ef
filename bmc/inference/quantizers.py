"""Quantizers of activations and weights.

In PyTorch they quantize and dequantize in place, so that scores and gradients are those of the
numbers that a target will compute. Once frozen for export they become the ONNX operators
QuantizeLinear and DequantizeLinear, with packed integer weights. That graph is the same for every
target (zero point 0, except for activations that need another); `bmc.contracts.Dialect` says how
each target wants it written.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

_SMALLEST_SCALE = 1e-12
STEPS = 255
OPSET = 21


class ActivationQuantizer(nn.Module):
    """Quantize a layer's input to 8 bits, with one scale and zero point for the whole tensor.

    The integers are -128..127 with zero point 0, or 0..255 with any zero point: 0 for values that
    are never negative. A scale of 0 means that the quantizer is not calibrated yet, and the input
    passes unchanged.

    `shifted` is for targets that only take zero point 0: the exported quantizer subtracts `offset`
    from its input, which gives the same integers around 0, and the layer's bias makes up for it.
    """

    scale: Tensor
    centred: Tensor
    unsigned: Tensor
    zero_point: Tensor
    frozen_zero_point: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("centred", torch.zeros(()))
        self.register_buffer("unsigned", torch.zeros((), dtype=torch.bool))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))
        self.shifted = self.frozen = False

    @property
    def symmetric_scale(self) -> Tensor:
        """The scale for targets that only take zero point 0; model directories call it centred."""
        return self.centred

    def forward(self, values: Tensor) -> Tensor:
        """Return values of any shape, quantized and dequantized."""
        if self.frozen:
            values = values - self.offset if self.shifted else values
            params = (self.scale, self.frozen_zero_point)
            integers = onnx_operator(
                "QuantizeLinear", (values, *params), values.shape, self.frozen_zero_point.dtype
            )
            return onnx_operator("DequantizeLinear", (integers, *params), values.shape)
        if not self.scale:
            return values
        low, high = self.integer_range()
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, low, high)

    def integer_range(self) -> tuple[int, int]:
        """Return the smallest and the largest integer."""
        return (0, STEPS) if self.unsigned else integer_range(8)

    def calibrate(
        self, scale: float, zero_point: int, unsigned: bool, symmetric_scale: float
    ) -> None:
        """Set scales and zero point, in place."""
        self.scale.fill_(scale)
        self.symmetric_scale.fill_(symmetric_scale)
        self.zero_point.fill_(zero_point)
        self.unsigned.fill_(unsigned)

    def make_symmetric(self) -> None:
        """Use signed integers with zero point 0 from now on."""
        if self.unsigned:
            self.scale.data.copy_(self.symmetric_scale)
            self.unsigned.fill_(value=False)
            self.zero_point.zero_()

    def freeze(self) -> None:
        """Become ONNX operators from now on."""
        self.frozen = True
        if self.shifted:
            to_middle = -integer_range(8)[0] - self.zero_point
            self.register_buffer("offset", to_middle * self.scale.detach())
        dtype = torch.uint8 if self.unsigned and not self.shifted else torch.int8
        zero_point = (self.zero_point * (not self.shifted)).to(dtype)
        self.register_buffer("frozen_zero_point", zero_point)


class LearnedActivationQuantizer(ActivationQuantizer):
    """An activation quantizer whose scale is trained, by the gradient of learned step sizes.

    Source: Esser et al. 2020, "Learned Step Size Quantization", section 2.1.
    """

    def __init__(self) -> None:
        super().__init__()
        del self.scale
        self.scale = nn.Parameter(torch.zeros(()))

    @classmethod
    def starting_from(cls, calibrated: ActivationQuantizer) -> LearnedActivationQuantizer:
        """Return a quantizer with the scale and zero point of a calibrated one."""
        learned = cls()
        for name in ("scale", "centred", "unsigned", "zero_point"):
            getattr(learned, name).data.copy_(getattr(calibrated, name))
        return learned

    def make_symmetric(self) -> None:
        """Use signed integers with zero point 0 from now on, over the range that was learned."""
        above_zero = (STEPS - self.zero_point).maximum(self.zero_point)
        self.symmetric_scale.copy_(self.scale.detach() * above_zero / integer_range(8)[1])
        super().make_symmetric()

    def forward(self, values: Tensor) -> Tensor:
        """Return values of any shape, quantized and dequantized."""
        if self.frozen or not torch.is_grad_enabled():
            return super().forward(values)
        values = values.float()
        low, high = self.integer_range()
        gradient_scale = (values.numel() * high) ** -0.5
        scale = self.scale.clamp(min=_SMALLEST_SCALE)
        scale = scale * gradient_scale + (scale - scale * gradient_scale).detach()
        steps = (values / scale + self.zero_point).clamp(low, high)
        integers = steps + (steps.round() - steps).detach()  # straight through the rounding
        quantized: Tensor = (integers - self.zero_point) * scale
        return quantized


class DynamicActivationQuantizer(nn.Module):
    """Quantize a layer's input by its own smallest and largest value, at each call."""

    def forward(self, values: Tensor) -> Tensor:
        """Return values of any shape, quantized and dequantized; gradients pass unchanged."""
        # Scale and zero point as ONNX's DynamicQuantizeLinear chooses them.
        low, high = values.amin().clamp(max=0.0), values.amax().clamp(min=0.0)
        scale = ((high - low) / STEPS).clamp(min=_SMALLEST_SCALE)
        zero_point = (-low / scale).round()
        integers = (values / scale + zero_point).round().clamp(0, STEPS)
        return values + ((integers - zero_point) * scale - values).detach()


class WeightQuantizer(nn.Module):
    """Quantize a weight symmetrically, by the largest value of each output channel or group.

    Args:
        bits: 4, 7 or 8.
        group: values of a row that share a scale; 0 for all of them.
    """

    def __init__(self, bits: int, group: int) -> None:
        super().__init__()
        self.bits, self.group = bits, group

    def forward(self, weight: Tensor) -> Tensor:
        """Return a weight (rows, ...), quantized and dequantized; gradients pass unchanged."""
        groups = self.grouped(weight)
        scales = self.scales_of(groups)
        zero_points = torch.zeros(len(scales), dtype=torch.int32, device=weight.device)
        quantized = torch.fake_quantize_per_channel_affine(
            groups, scales, zero_points, 0, *integer_range(self.bits)
        )
        return quantized.view(weight.shape)

    @torch.no_grad()
    def quantize(
        self, weight: Tensor, smallest_scales: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return a weight's integers, int8 of its shape, and their scales.

        Args:
            weight: (rows, ...).
            smallest_scales: lower bounds of the scales (rows), where there are no groups.

        Returns:
            the integers, and the scales: (rows), or (rows, groups).
        """
        groups = self.grouped(weight)
        scales = self.scales_of(groups)
        scales = scales if smallest_scales is None else scales.maximum(smallest_scales)
        integers = (groups / scales[:, None]).round().clamp(*integer_range(self.bits))
        integers = integers.to(torch.int8).view(weight.shape)
        return integers, scales.view(len(weight), -1) if self.group else scales

    def grouped(self, weight: Tensor) -> Tensor:
        """Return a weight (rows, ...) as the values that share a scale, (scales, values)."""
        return weight.reshape(-1, self.group) if self.group else weight.flatten(1)

    def scales_of(self, groups: Tensor) -> Tensor:
        """Return the scale of each group of values (scales, values)."""
        largest = groups.detach().abs().amax(dim=1)
        return (largest / integer_range(self.bits)[1]).clamp(min=_SMALLEST_SCALE)


class FittedWeightQuantizer(WeightQuantizer):
    """A weight quantizer whose scales were fitted once, and are stored beside the weight.

    Args:
        bits: 4, 7 or 8.
        group: values of a row that share a scale; 0 for all of them.
        count: number of scales.
    """

    scales: Tensor

    def __init__(self, bits: int, group: int, count: int) -> None:
        super().__init__(bits, group)
        self.register_buffer("scales", torch.ones(count))

    def scales_of(self, groups: Tensor) -> Tensor:
        """Return the stored scales (scales)."""
        return self.scales


class PackedWeight(nn.Module):
    """A weight as integers, which the exported graph dequantizes.

    Args:
        integers: int8.
        scales: one for each index of `axis`, or one for each block along it.
        axis: the axis that scales belong to.
        quantizer: what made the integers.
    """

    integers: Tensor
    scales: Tensor

    def __init__(
        self, integers: Tensor, scales: Tensor, axis: int, quantizer: WeightQuantizer
    ) -> None:
        super().__init__()
        self.register_buffer("integers", integers.contiguous())
        self.register_buffer("scales", scales.contiguous())
        self.bits = quantizer.bits
        self.attributes = {"axis": axis}
        if quantizer.group:
            self.attributes["block_size"] = quantizer.group

    def forward(self) -> Tensor:
        """Return the dequantized weight."""
        # Without a zero point it is 0.
        inputs = (self.integers, self.scales)
        return onnx_operator(
            "DequantizeLinear", inputs, self.integers.shape, attributes=self.attributes
        )


def onnx_operator(
    name: str,
    inputs: tuple[Tensor, ...],
    shape: Any,
    dtype: torch.dtype = torch.float32,
    attributes: Mapping[str, int] = MappingProxyType({}),
) -> Tensor:
    """Return a stand-in for an ONNX operator's output while a graph is exported.

    Args:
        name: of the operator.
        inputs: of the operator.
        shape: of its output.
        dtype: of its output.
        attributes: of the operator.
    """
    return torch.onnx.ops.symbolic(
        name, inputs, dict(attributes), dtype=dtype, shape=shape, version=OPSET
    )


def integer_range(bits: int) -> tuple[int, int]:
    """Return the smallest and the largest signed integer of a number of bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
