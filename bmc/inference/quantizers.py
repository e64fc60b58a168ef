"""Quantizers of activations and weights.

In PyTorch a quantizer quantizes and dequantizes values, and scores and gradients are those of the
quantized values. A quantizer that is frozen for an export becomes the ONNX operators
QuantizeLinear and DequantizeLinear, with packed integer weights. The exported graph is the same
for all targets: zero point 0, except for activations of mostly one sign. `bmc.contracts.Dialect`
describes how the graph is rewritten for each target.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

_MIN_SCALE = 1e-12
STEPS = 255
OPSET = 21


class ActivationQuantizer(nn.Module):
    """Quantize a layer's input to 8 bits, with one scale and zero point for the whole tensor.

    The integers are -128..127 with zero point 0, or 0..255 with any zero point. For values that
    are never negative, that zero point is 0. A scale of 0 means that the quantizer is not
    calibrated yet, and the input passes unchanged.

    `shifted` is for targets that accept only zero point 0. The exported quantizer subtracts
    `offset` from its input, which moves the integers to -128..127, and the layer's bias
    compensates for the shift.
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
        """The scale for zero point 0, which some targets need; model directories say `centred`."""
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
        """Compute with ONNX operators from now on."""
        self.frozen = True
        if self.shifted:
            steps_to_middle = -integer_range(8)[0] - self.zero_point
            self.register_buffer("offset", steps_to_middle * self.scale.detach())
        dtype = torch.uint8 if self.unsigned and not self.shifted else torch.int8
        zero_point = (self.zero_point * (not self.shifted)).to(dtype)
        self.register_buffer("frozen_zero_point", zero_point)


class LearnedActivationQuantizer(ActivationQuantizer):
    """An activation quantizer with a trained scale, using the gradient of learned step sizes.

    The number of features by which its gradient is scaled is that of an image, or of a token.

    Source: Esser et al. 2020, "Learned Step Size Quantization", section 2.1.
    """

    def __init__(self) -> None:
        super().__init__()
        del self.scale
        self.scale = nn.Parameter(torch.zeros(()))

    @classmethod
    def starting_from(cls, calibrated: ActivationQuantizer) -> LearnedActivationQuantizer:
        """Return a learned quantizer with the scale and zero point of a calibrated quantizer."""
        learned = cls()
        for name in ("scale", "centred", "unsigned", "zero_point"):
            getattr(learned, name).data.copy_(getattr(calibrated, name))
        return learned

    def make_symmetric(self) -> None:
        """Use signed integers with zero point 0 from now on, over the learned range."""
        above_zero = (STEPS - self.zero_point).maximum(self.zero_point)
        self.symmetric_scale.copy_(self.scale.detach() * above_zero / integer_range(8)[1])
        super().make_symmetric()

    def forward(self, values: Tensor) -> Tensor:
        """Return values of any shape, quantized and dequantized."""
        if self.frozen or not torch.is_grad_enabled():
            return super().forward(values)
        values = values.float()
        low, high = self.integer_range()
        # Not of the batch, so that the gradients of its parts add up to its own.
        features = values.shape[1:] if values.ndim == 4 else values.shape[-1:]
        gradient_scale = (features.numel() * high) ** -0.5
        scale = self.scale.clamp(min=_MIN_SCALE)
        scale = scale * gradient_scale + (scale - scale * gradient_scale).detach()
        steps = (values / scale + self.zero_point).clamp(low, high)
        integers = steps + (steps.round() - steps).detach()  # straight-through estimator
        quantized: Tensor = (integers - self.zero_point) * scale
        return quantized


class DynamicActivationQuantizer(nn.Module):
    """Quantize a layer's input by the smallest and largest value of that input, at each call."""

    def forward(self, values: Tensor) -> Tensor:
        """Return values of any shape, quantized and dequantized; gradients pass unchanged."""
        if not values.numel():
            return values
        # Scale and zero point as ONNX's DynamicQuantizeLinear chooses them.
        low, high = values.amin().clamp(max=0.0), values.amax().clamp(min=0.0)
        scale = ((high - low) / STEPS).clamp(min=_MIN_SCALE)
        zero_point = (-low / scale).round()
        integers = (values / scale + zero_point).round().clamp(0, STEPS)
        return values + ((integers - zero_point) * scale - values).detach()


class WeightQuantizer(nn.Module):
    """Quantize a weight symmetrically, by the largest value of each output channel or group.

    Args:
        bits: bits of the integers: 4, 7 or 8.
        group: number of values of a row that share a scale; 0 for the whole row.
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
        """Quantize a weight to integers and scales.

        Args:
            weight: the weight (rows, ...).
            smallest_scales: lower bounds of the scales (rows), where there are no groups.

        Returns:
            the integers, int8 in the shape of the weight, and the scales (rows) or (rows, groups).
        """
        groups = self.grouped(weight)
        scales = self.scales_of(groups)
        scales = scales if smallest_scales is None else scales.maximum(smallest_scales)
        integers = (groups / scales[:, None]).round().clamp(*integer_range(self.bits))
        integers = integers.to(torch.int8).view(weight.shape)
        return integers, scales.view(len(weight), -1) if self.group else scales

    def grouped(self, weight: Tensor) -> Tensor:
        """Reshape a weight (rows, ...) to groups of values that share a scale, (scales, values)."""
        return weight.reshape(-1, self.group) if self.group else weight.flatten(1)

    def scales_of(self, groups: Tensor) -> Tensor:
        """Return the scale of each group of values (scales, values)."""
        largest = groups.detach().abs().amax(dim=1)
        return (largest / integer_range(self.bits)[1]).clamp(min=_MIN_SCALE)


class FittedWeightQuantizer(WeightQuantizer):
    """A weight quantizer with fitted scales, which are stored next to the weight.

    Args:
        bits: bits of the integers: 4, 7 or 8.
        group: number of values of a row that share a scale; 0 for the whole row.
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
        integers: the integers, int8.
        scales: a scale for each index of `axis`, or for each block along `axis`.
        axis: axis of the scales.
        quantizer: quantizer that computed the integers.
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
        # DequantizeLinear has two inputs here: the zero point, its third input, defaults to 0.
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
    """Return the symbolic output of an ONNX operator while a graph is exported.

    Args:
        name: name of the operator.
        inputs: inputs of the operator.
        shape: shape of the output.
        dtype: dtype of the output.
        attributes: attributes of the operator.
    """
    return torch.onnx.ops.symbolic(
        name, inputs, dict(attributes), dtype=dtype, shape=shape, version=OPSET
    )


def integer_range(bits: int) -> tuple[int, int]:
    """Return the smallest and the largest signed integer of a number of bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
