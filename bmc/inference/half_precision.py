"""Half precision: 16-bit weights, with fp32 islands for layers that need more range or digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bmc.inference.codebook import is_clustered
from bmc.inference.operators import RecurrentOperator
from bmc.inference.replacing import rebuilt_as, replace_layers

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class HalfPrecisionLayer:
    """A layer with 16-bit weights, which casts its inputs to the dtype of its weights."""


class HalfPrecisionLinear(HalfPrecisionLayer, nn.Linear):
    """A linear layer with 16-bit weights."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return outputs (..., out) for values (..., in)."""
        values = input.to(self.weight.dtype)
        if _is_computed_in_fp32(values):
            bias = None if self.bias is None else self.bias.float()
            return linear(values.float(), self.weight.float(), bias).to(values.dtype)
        return linear(values, self.weight, self.bias)


class HalfPrecisionConv2d(HalfPrecisionLayer, nn.Conv2d):
    """A convolution with 16-bit weights."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return maps (rows, out, height, width) for maps (rows, in, height, width)."""
        values = input.to(self.weight.dtype)
        if _is_computed_in_fp32(values):
            bias = None if self.bias is None else self.bias.float()
            outputs: Tensor = self._conv_forward(values.float(), self.weight.float(), bias)
            return outputs.to(values.dtype)
        return super().forward(values)


class HalfPrecisionEmbedding(HalfPrecisionLayer, nn.Embedding):
    """An embedding with 16-bit values."""


class Fp32Linear(nn.Linear):
    """A linear layer with fp32 arithmetic and outputs, which 16 bits might not hold."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return outputs (..., out) in fp32 for values (..., in)."""
        return super().forward(input.float())


class Fp32Conv2d(nn.Conv2d):
    """A convolution with fp32 arithmetic and outputs, which 16 bits might not hold."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return maps (rows, out, height, width) in fp32 for maps (rows, in, height, width)."""
        return super().forward(input.float())


class Fp32Island:
    """Hooks that make a layer compute in fp32 and return the dtype of its first float input.

    Norms, recurrent layers, layers with codebooks and layers of unknown classes get these hooks.
    """

    def __init__(self) -> None:
        self._dtypes: list[torch.dtype | None] = []

    def attach(self, layer: nn.Module) -> None:
        """Register the hooks with a layer."""
        layer.register_forward_pre_hook(self.cast_inputs, with_kwargs=True)
        layer.register_forward_hook(self.cast_output)

    def cast_inputs(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Cast all float inputs to fp32."""
        dtypes = [value.dtype for value in args if is_float(value)]
        self._dtypes.append(dtypes[0] if dtypes else None)
        return tuple(map(_to_fp32, args)), {name: _to_fp32(v) for name, v in kwargs.items()}

    def cast_output(self, _: nn.Module, args: object, output: Any) -> Any:
        """Cast the output, or the first of several outputs, back to the dtype of the inputs."""
        dtype = self._dtypes.pop()
        if dtype is None:
            return output
        if isinstance(output, tuple):
            return output[0].to(dtype), *output[1:]
        return output.to(dtype) if is_float(output) else output


_HALF: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: HalfPrecisionLinear,
    nn.Conv2d: HalfPrecisionConv2d,
    nn.Embedding: HalfPrecisionEmbedding,
}
_FP32: Mapping[type[nn.Module], type[nn.Module]] = {nn.Linear: Fp32Linear, nn.Conv2d: Fp32Conv2d}
_ISLANDS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, RecurrentOperator)
HALF_PRECISION_KINDS = tuple(_HALF)
"""Classes of layers that can have weights of 16 bits."""


def to_half_precision(form: nn.Module, precision: str, keep: Sequence[str]) -> None:
    """Make an inference form compute in 16 bits and return fp32 outputs, in place.

    Args:
        form: the inference form.
        precision: "fp16" or "bf16".
        keep: paths of layers that stay in fp32.

    Raises:
        AttributeError: a path names no layer.
    """
    for path in keep:
        form.get_submodule(path)
    half = half_precision_layers(form, keep)
    replacements: dict[nn.Module, nn.Module] = {}
    for layer in form.modules():
        kind = type(layer)
        if id(layer) in half:
            replacements[layer] = rebuilt_as(_HALF[kind], layer).to(DTYPES[precision])
        elif kind in _FP32:
            replacements[layer] = rebuilt_as(_FP32[kind], layer)
        elif _computes_with_floats(layer):
            Fp32Island().attach(layer)
    replace_layers(form, replacements)
    form.register_forward_hook(_output_in_fp32)


def half_precision_layers(form: nn.Module, keep: Sequence[str]) -> set[int]:
    """Return the identities of the layers that can have 16-bit weights.

    A layer that shares weights with a layer in fp32 stays in fp32.

    Args:
        form: the inference form.
        keep: paths of layers that stay in fp32.
    """
    layers = dict(form.named_modules())
    fp32_layers = {id(layer) for path, layer in layers.items() if path in keep}
    candidates = {
        id(layer): layer
        for layer in layers.values()
        if type(layer) in _HALF and id(layer) not in fp32_layers
    }
    others = [layer for layer in form.modules() if id(layer) not in candidates]
    in_fp32 = {id(value) for layer in others for value in layer.parameters(recurse=False)}
    return {
        identity
        for identity, layer in candidates.items()
        if not any(id(value) in in_fp32 for value in layer.parameters(recurse=False))
    }


def is_float(value: Any) -> bool:
    """Tell whether a value is a tensor of floats."""
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_computed_in_fp32(values: Tensor) -> bool:
    """Tell whether 16-bit values are multiplied in fp32, and the result rounded to 16 bits.

    A processor with 16-bit arithmetic sums up in fp32, too. On others, PyTorch takes many times as
    long as in fp32. An exported graph states 16 bits in any case.
    """
    is_on_cpu = values.device.type == "cpu"
    return is_on_cpu and not torch.onnx.is_in_onnx_export() and not _multiplies(values.dtype)


@cache
def _multiplies(dtype: torch.dtype) -> bool:
    """Tell whether oneDNN multiplies values of a dtype on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    kinds = torch.ops.mkldnn
    if dtype == torch.bfloat16:
        return bool(kinds._is_mkldnn_bf16_supported())
    return dtype != torch.float16 or bool(kinds._is_mkldnn_fp16_supported())


def _computes_with_floats(layer: nn.Module) -> bool:
    """Tell whether a layer computes with fp32 parameters, or fp32 values of a codebook."""
    parameters = list(layer.parameters(recurse=False))
    return bool(parameters) or isinstance(layer, _ISLANDS) or is_clustered(layer, inside=False)


def _to_fp32(value: Any) -> Any:
    return value.float() if is_float(value) else value


def _output_in_fp32(_: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return output.float()
