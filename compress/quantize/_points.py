"""Grids of few bits: where inputs are put on one, how weights are, and what leaves for a target.

In PyTorch they quantize and dequantize in place, so that scores and gradients are those of the
numbers that a target will compute. Once frozen for export they hold whole numbers, and leave as the
operators QuantizeLinear and DequantizeLinear: one canonical graph (zero point 0 but for inputs that
want another), which `bmc.export.dialects` lowers to each target.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

_LEAST_SCALE = 1e-12
STEPS = 255
OPSET = 21


class Point(nn.Module):
    """Where a layer's input is quantized: 8 bits, one scale and zero point for the whole tensor.

    The grid is -128..127 with 0 in its middle, or 0..255 with 0 wherever the values want it: at its
    end for values that are never below 0. While the scale is 0 it is not calibrated yet, and the
    input passes unchanged. `centred` is the scale for a target whose grids have 0 in the middle.
    Once `shifted`, what leaves for a target is the same grid of whole numbers about 0, of an input
    that is moved there beforehand; the layer's bias takes the move back.
    """

    scale: Tensor
    centred: Tensor
    unsigned: Tensor
    zero_point: Tensor
    zero: Tensor
    move: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("centred", torch.zeros(()))
        self.register_buffer("unsigned", torch.zeros((), dtype=torch.bool))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))
        self.shifted = self.frozen = False

    def forward(self, values: Tensor) -> Tensor:
        """Return the values on the grid of 256 steps."""
        if self.frozen:
            values = values - self.move if self.shifted else values
            given = (values, self.scale, self.zero)
            whole = operator("QuantizeLinear", given, values.shape, self.zero.dtype)
            return operator("DequantizeLinear", (whole, self.scale, self.zero), values.shape)
        if not self.scale:
            return values
        low, high = self.steps()
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, low, high)

    def steps(self) -> tuple[int, int]:
        """Return the least and the largest whole number of the grid."""
        return (0, STEPS) if self.unsigned else levels(8)

    def centre(self) -> None:
        """Put 0 in the middle of the grid from now on."""
        if self.unsigned:
            self.scale.data.copy_(self.centred)
            self.unsigned.fill_(value=False)
            self.zero_point.zero_()

    def hold(self) -> None:
        """Leave as operators from now on."""
        self.frozen = True
        if self.shifted:
            self.register_buffer("move", (-levels(8)[0] - self.zero_point) * self.scale.detach())
        kind = torch.uint8 if self.unsigned and not self.shifted else torch.int8
        self.register_buffer("zero", (self.zero_point * (not self.shifted)).to(kind))


class LearnedPoint(Point):
    """The same with a scale that training moves, by a gradient of its own."""

    def __init__(self) -> None:
        super().__init__()
        del self.scale
        self.scale = nn.Parameter(torch.zeros(()))

    def centre(self) -> None:
        """Put 0 in the middle of the grid, which reaches as far as training has made it."""
        above = STEPS - self.zero_point
        self.centred.copy_(self.scale.detach() * above.maximum(self.zero_point) / levels(8)[1])
        super().centre()

    def forward(self, values: Tensor) -> Tensor:
        """Return the values on the grid of 256 steps."""
        if self.frozen or not torch.is_grad_enabled():
            return super().forward(values)
        values = values.float()
        low, high = self.steps()
        share = (values.numel() * high) ** -0.5
        scale = self.scale.clamp(min=_LEAST_SCALE)
        scale = scale * share + (scale - scale * share).detach()
        whole = (values / scale + self.zero_point).clamp(low, high)
        found: Tensor = (whole + (whole.round() - whole).detach() - self.zero_point) * scale
        return found


class DynamicPoint(nn.Module):
    """Where a layer's input is quantized by its own least and largest value, each time anew."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the values on a grid of 256 steps; gradients pass as if they were not."""
        # Scale and zero point as ONNX's DynamicQuantizeLinear chooses them.
        low, high = values.amin().clamp(max=0.0), values.amax().clamp(min=0.0)
        scale = ((high - low) / STEPS).clamp(min=_LEAST_SCALE)
        zero = (-low / scale).round()
        whole = (values / scale + zero).round().clamp(0, STEPS)
        return values + ((whole - zero) * scale - values).detach()


class Grid(nn.Module):
    """How a weight is quantized: symmetric, by the largest value of each channel or group.

    Args:
        bits: 4, 7 or 8.
        group: values of a row that share a scale; 0 for all of them.
    """

    def __init__(self, bits: int, group: int) -> None:
        super().__init__()
        self.bits, self.group = bits, group

    def forward(self, weight: Tensor) -> Tensor:
        """Return a weight (rows, ...) on its grid; gradients pass as if it were not."""
        rows = self.rows(weight)
        scales = self.scales_of(rows)
        zeros = torch.zeros(len(scales), dtype=torch.int32, device=weight.device)
        fake = torch.fake_quantize_per_channel_affine(rows, scales, zeros, 0, *levels(self.bits))
        return fake.view(weight.shape)

    @torch.no_grad()
    def whole(self, weight: Tensor, least: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return a weight's whole numbers, int8, and their scales (rows) or (rows, groups).

        Args:
            weight: (rows, ...).
            least: scale of each row at least (rows), where there are no groups.
        """
        rows = self.rows(weight)
        scales = self.scales_of(rows)
        scales = scales if least is None else scales.maximum(least)
        found = (rows / scales[:, None]).round().clamp(*levels(self.bits)).to(torch.int8)
        return found.view(weight.shape), scales.view(len(weight), -1) if self.group else scales

    def rows(self, weight: Tensor) -> Tensor:
        """Return a weight as values that share a scale, (scales, values)."""
        return weight.reshape(-1, self.group) if self.group else weight.flatten(1)

    def scales_of(self, rows: Tensor) -> Tensor:
        """Return the scales (scales) of a weight's rows."""
        largest = rows.detach().abs().amax(dim=1)
        return (largest / levels(self.bits)[1]).clamp(min=_LEAST_SCALE)


class FittedGrid(Grid):
    """The same with scales that were chosen once, and are kept beside the weight.

    Args:
        bits: 4, 7 or 8.
        group: values of a row that share a scale; 0 for all of them.
        count: of the scales.
    """

    scales: Tensor

    def __init__(self, bits: int, group: int, count: int) -> None:
        super().__init__(bits, group)
        self.register_buffer("scales", torch.ones(count))

    def scales_of(self, rows: Tensor) -> Tensor:
        """Return the scales (scales) that were chosen."""
        return self.scales


class Whole(nn.Module):
    """A weight as whole numbers, dequantized in the exported graph.

    Args:
        numbers: int8.
        scales: one for each place of `axis`, or one for each block along it.
        axis: what a scale is of.
        grid: how they were made.
    """

    def __init__(self, numbers: Tensor, scales: Tensor, axis: int, grid: Grid) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers.contiguous())
        self.register_buffer("scales", scales.contiguous())
        self.bits = grid.bits
        self.attributes = {"axis": axis, **({"block_size": grid.group} if grid.group else {})}

    def forward(self) -> Tensor:
        """Return the weight."""
        numbers: Any = self.numbers
        given: Any = (numbers, self.scales)  # without a zero point it is 0
        return operator("DequantizeLinear", given, numbers.shape, attributes=self.attributes)


def operator(
    name: str,
    given: tuple[Tensor, ...],
    shape: Any,
    dtype: torch.dtype = torch.float32,
    attributes: Mapping[str, int] = MappingProxyType({}),
) -> Tensor:
    """Return what stands for an ONNX operator's output while a graph is exported."""
    return torch.onnx.ops.symbolic(
        name, given, dict(attributes), dtype=dtype, shape=shape, version=OPSET
    )


def levels(bits: int) -> tuple[int, int]:
    """Return the least and the largest whole number of so many bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
