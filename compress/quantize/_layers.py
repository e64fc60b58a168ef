"""Layers that read, and multiply by, numbers of few bits; their biases stay in float."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from bmc.compress.quantize._points import OPSET, Grid, Point, Whole, operator
from bmc.models._folding import Sum
from bmc.models.recurrent import Exported

_MOST_STEPS = 2.0**30
_RECURRENT = ("weight_ih_l0", "weight_hh_l0")


class Quantized:
    """What quantized layers have in common.

    Args:
        points: of the inputs; none where they stay in float.
        grid: of the weight; None where it stays in float, or there is none.
        numbers: the weight as it is exported, once the layer is frozen.
        active: whether it quantizes at all; a measurement may switch it off.
    """

    points: nn.ModuleList
    grid: Grid | None
    numbers: nn.Module | None
    active = True

    def read(self, values: Tensor, place: int = 0) -> Tensor:
        """Return an input as the layer reads it."""
        return self.points[place](values) if self.points and self.active else values

    def used(self, weight: Tensor) -> Tensor:
        """Return the weight as the layer uses it."""
        return self.grid(weight) if self.grid and self.active else weight

    def hold(self) -> None:
        """Hold the weight as whole numbers; there is none."""

    def least_scales(self, bias: Tensor | None) -> Tensor | None:
        """Return the least scale of each output channel whose bias can be counted in int32.

        ONNX Runtime counts it in steps of the products, and cuts what does not fit: where a channel
        has (nearly) no weights, its steps would be too small. The weights lose nothing by it that
        shows beside such a bias.
        """
        point = self.points[0] if self.points else None
        if bias is None or not isinstance(point, Point):
            return None
        return bias.detach().abs() / (point.scale.detach() * _MOST_STEPS)


class Narrowed:
    """A layer whose weights are of 16 bits; what it reads is brought to theirs."""


class QuantizedLinear(Quantized, nn.Linear):
    """A linear layer; its input channels may be `divided` before they are quantized."""

    divided: Tensor | None

    def divide(self, by: Tensor) -> None:
        """Divide each input channel (in); its weights take that back."""
        self.divided = 1 / by
        self.weight.data *= by

    def undivided(self) -> Tensor:
        """Return the weight (out, in) of input channels as they come."""
        return self.weight if self.divided is None else self.weight * self.divided

    def forward(self, values: Tensor) -> Tensor:
        """Return it of values (..., in)."""
        values = self.read(values if self.divided is None else values * self.divided)
        if self.numbers is None:
            return linear(values, self.used(self.weight), self.bias)
        weight = self.numbers()
        if self.bias is None:
            return values @ weight
        if values.dim() == 2:
            return torch.addmm(self.bias, values, weight)
        return values @ weight + self.bias  # type: ignore[no-any-return]

    def hold(self) -> None:
        """Hold the weight as whole numbers (in, out), as a matmul reads them."""
        point = self.points[0] if self.points and self.active else None
        if isinstance(point, Point) and point.shifted:
            taken = point.move * self.used(self.weight).sum(dim=1)
            self.bias = nn.Parameter(taken if self.bias is None else self.bias + taken)
        if self.grid and self.active:
            numbers, scales = self.grid.whole(self.weight, self.least_scales(self.bias))
            self.numbers = Whole(numbers.t(), scales.t(), int(not self.grid.group), self.grid)


class QuantizedConv2d(Quantized, nn.Conv2d):
    """A convolution."""

    def forward(self, values: Tensor) -> Tensor:
        """Return it of values (rows, in, height, width)."""
        weight: Tensor = self.used(self.weight) if self.numbers is None else self.numbers()
        made: Tensor = self._conv_forward(self.read(values), weight, self.bias)
        return made

    def hold(self) -> None:
        """Hold the weight as whole numbers."""
        if self.grid and self.active:
            held = self.grid.whole(self.weight, self.least_scales(self.bias))
            self.numbers = Whole(*held, 0, self.grid)


class QuantizedEmbedding(Quantized, nn.Embedding):
    """A lookup table."""

    def forward(self, places: Tensor) -> Tensor:
        """Return rows of the table (..., width) at int64 places (...)."""
        table = self.used(self.weight) if self.numbers is None else self.numbers()
        return embedding(places, table, self.padding_idx)

    def hold(self) -> None:
        """Hold the table as whole numbers."""
        if self.grid and self.active:
            numbers, scales = self.grid.whole(self.weight)
            self.numbers = Whole(numbers, scales, int(self.grid.group > 0), self.grid)


class DynamicLinear(QuantizedLinear):
    """A linear layer that finds the range of its input each time."""

    def forward(self, values: Tensor) -> Tensor:
        """Return it of values (..., in)."""
        if self.numbers is None:
            return super().forward(values)
        values = values if self.divided is None else values * self.divided
        whole: Any = self.numbers
        shapes = [values.shape, (), ()]
        kinds = [torch.uint8, torch.float32, torch.uint8]
        read, scale, zero = torch.onnx.ops.symbolic_multi_out(
            "DynamicQuantizeLinear", (values,), {}, dtypes=kinds, shapes=shapes, version=OPSET
        )
        shape = (*values.shape[:-1], whole.numbers.shape[1])
        given = (read, whole.numbers, zero)
        product = operator("MatMulInteger", given, shape, torch.int32)
        made: Tensor = product.float() * (scale * whole.scales)
        return made if self.bias is None else made + self.bias

    def hold(self) -> None:
        """Hold the weight as whole numbers (in, out)."""
        if self.grid and self.active:
            numbers, scales = self.grid.whole(self.weight)
            self.numbers = Whole(numbers.t(), scales, 1, self.grid)


class QuantizedRecurrent(Quantized, Exported):
    """A recurrent layer: its weights alone, those of its inputs and of its states."""

    def forward(self, vectors: Tensor) -> tuple[Tensor, None]:
        """Return states (rows, length, hidden)."""
        if torch.onnx.is_in_onnx_export():
            return super().forward(vectors)
        own: dict[str, Tensor] = dict(self.layer.named_parameters())
        own |= {name: self.used(own[name]) for name in _RECURRENT}
        states, _ = torch.func.functional_call(self.layer, own, (vectors,))
        return states, None

    def exported(self) -> tuple[Tensor, Tensor]:
        """Return both weights (1, gates x hidden, in)."""
        if self.numbers is None:
            return super().exported()
        first, second = (numbers() for numbers in self.numbers)  # type: ignore[attr-defined]
        return first, second

    def hold(self) -> None:
        """Hold both weights as whole numbers."""
        if self.grid and self.active:
            held = []
            for name in _RECURRENT:
                numbers, scales = self.grid.whole(self.ordered(getattr(self.layer, name)))
                held.append(Whole(numbers[None], scales, 1, self.grid))
            self.numbers = nn.ModuleList(held)


class QuantizedSum(Quantized, Sum):
    """A sum of two quantized tensors."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return it."""
        return self.read(first) + self.read(second, 1)


class QuantizedMaxPool2d(Quantized, nn.MaxPool2d):
    """The largest of quantized values."""

    def forward(self, values: Tensor) -> Tensor:
        """Return it of values (rows, channels, height, width)."""
        return super().forward(self.read(values))  # type: ignore[no-any-return]


class QuantizedAdaptiveAvgPool2d(Quantized, nn.AdaptiveAvgPool2d):
    """The mean of quantized values."""

    def forward(self, values: Tensor) -> Tensor:
        """Return it of values (rows, channels, height, width)."""
        return super().forward(self.read(values))
