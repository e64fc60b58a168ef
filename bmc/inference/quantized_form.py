"""Quantize an inference form by a record, adapt it to a target, and freeze it for an export."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from bmc.errors import ArtifactError
from bmc.inference.form import become_inference_form
from bmc.inference.half_precision import HalfPrecisionLayer
from bmc.inference.operators import Add, RecurrentOperator
from bmc.inference.quantized_layers import (
    QUANTIZABLE,
    DynamicQuantizedLinear,
    QuantizedLayer,
    QuantizedLinear,
)
from bmc.inference.quantizers import (
    ActivationQuantizer,
    DynamicActivationQuantizer,
    FittedWeightQuantizer,
    LearnedActivationQuantizer,
    WeightQuantizer,
)
from bmc.inference.replacing import rebuilt_as, replace_layers
from bmc.model import Model, Record

_INPUTS = {
    "static": ActivationQuantizer,
    "learned": LearnedActivationQuantizer,
    "dynamic": DynamicActivationQuantizer,
}


@dataclass(frozen=True)
class LayerQuantization:
    """How one layer is quantized: an entry of a record.

    Args:
        bits: of the weight: 4, 7 or 8; 0 where it stays in float, or there is none.
        group: values of a weight's row that share a scale; 0 for all of them.
        inputs: "static", "learned" or "dynamic"; "float" where the inputs are not quantized.
        divided: whether input channels are scaled down before they are quantized.
        fitted: whether the weight's scales are stored, instead of its largest values'.
    """

    bits: int = 0
    group: int = 0
    inputs: str = "float"
    divided: bool = False
    fitted: bool = False

    def to_json(self) -> Record:
        """Return the entry as a JSON object; what is off is left out."""
        marks = {name: True for name in ("divided", "fitted") if getattr(self, name)}
        return {"bits": self.bits, "group": self.group, "inputs": self.inputs, **marks}

    @classmethod
    def from_json(cls, path: str, entry: Any) -> LayerQuantization:
        """Return what an entry, which may come from a file, says.

        Args:
            path: of the layer, for messages.
            entry: of a record.

        Raises:
            ArtifactError: the entry is malformed.
        """
        keys, marks = {"bits", "group", "inputs"}, {"divided", "fitted"}
        is_known = isinstance(entry, dict) and keys <= entry.keys() <= keys | marks
        if is_known and entry["bits"] in (0, 4, 7, 8) and entry["inputs"] in ("float", *_INPUTS):
            group = entry["group"]
            fits = type(group) is int and group >= 0 and (entry["bits"] == 4 or not group)
            if fits and all(entry.get(mark, True) is True for mark in marks):
                bits, inputs = int(entry["bits"]), entry["inputs"]
                return cls(bits, group, inputs, "divided" in entry, "fitted" in entry)
        raise ArtifactError(f"the quantization of {path!r:.60} is recorded as {entry!r:.80}")


def rebuild(model: Model, record: Record) -> None:
    """Make a freshly built model its inference form, with the recorded layers quantized."""
    become_inference_form(model)
    quantize_layers(model.module, record)


def quantize_layers(form: nn.Module, record: Record) -> None:
    """Replace the layers that a record names by quantized ones, in place.

    Args:
        form: an inference form.
        record: a JSON object for each layer's path; see `LayerQuantization`.

    Raises:
        ArtifactError: the record, which may come from a file, does not fit the form.
    """
    replacements: dict[nn.Module, nn.Module] = {}
    for path, entry in record.items():
        layer = form.get_submodule(path)
        if layer in replacements:
            raise ArtifactError(f"{path} is recorded as quantized twice")
        if type(layer) not in QUANTIZABLE:
            raise ArtifactError(f"{path} is a {type(layer).__name__}; it cannot be quantized")
        settings = LayerQuantization.from_json(path, entry)
        _check_fits(path, layer, settings)
        replacements[layer] = _quantized(layer, settings)
    replace_layers(form, replacements)


def _check_fits(path: str, layer: Any, settings: LayerQuantization) -> None:
    """Refuse a quantization that a layer cannot have."""
    if settings.bits == 4 and type(layer) not in (nn.Linear, nn.Embedding):
        raise ArtifactError(f"{path} cannot have weights of 4 bits")
    if settings.group and layer.weight[0].numel() % settings.group:
        raise ArtifactError(f"groups of {settings.group} do not divide the rows of {path}")
    if settings.fitted and (settings.bits != 4 or settings.divided):
        raise ArtifactError(f"{path} is recorded with fitted scales, which it cannot have")
    if settings.inputs == "dynamic" and type(layer) is not nn.Linear:
        raise ArtifactError(f"{path} is no linear layer; its range cannot be dynamic")
    if settings.divided and type(layer) is not nn.Linear:
        raise ArtifactError(f"{path} has no input channels that could be scaled")


def _quantized(layer: Any, settings: LayerQuantization) -> nn.Module:
    """Return the quantized layer for a plain one; both hold the same weights."""
    kind: Any = QUANTIZABLE[type(layer)]
    if settings.inputs == "dynamic":
        kind = DynamicQuantizedLinear
    quantized = rebuilt_as(kind, layer)
    inputs: list[nn.Module] = []
    if settings.inputs != "float":
        count = 2 if type(layer) is Add else 1
        inputs = [_INPUTS[settings.inputs]() for _ in range(count)]
    weight: WeightQuantizer | None = None
    if settings.fitted:
        count = layer.weight.numel() // (settings.group or layer.weight[0].numel())
        weight = FittedWeightQuantizer(settings.bits, settings.group, count)
    elif settings.bits:
        weight = WeightQuantizer(settings.bits, settings.group)
    quantized.set_quantizers(inputs, weight, settings.divided)
    return quantized  # type: ignore[no-any-return]


def quantized_layers(form: nn.Module) -> dict[str, Any]:
    """Return the quantized layers of a form, by path."""
    return {path: part for path, part in form.named_modules() if isinstance(part, QuantizedLayer)}


def learn_scales(form: nn.Module) -> None:
    """Let training move the scales of a calibrated form's activation quantizers, in place."""
    for layer in quantized_layers(form).values():
        for place, quantizer in enumerate(layer.input_quantizers):
            if type(quantizer) is ActivationQuantizer:
                learned = LearnedActivationQuantizer.starting_from(quantizer)
                layer.input_quantizers[place] = learned


def with_zero_point_0(form: nn.Module, keep_unsigned: bool) -> nn.Module:
    """Return a quantized form whose activations have zero point 0; itself where they have it.

    Linear layers keep their integers: their inputs are shifted, and their biases make up for it.
    The other layers get symmetric scales.

    Args:
        form: it is not changed.
        keep_unsigned: whether unsigned integers with zero point 0 may stay.
    """

    def must_change(quantizer: nn.Module) -> TypeGuard[ActivationQuantizer]:
        unsigned = isinstance(quantizer, ActivationQuantizer) and bool(quantizer.unsigned)
        return unsigned and not (keep_unsigned and quantizer.zero_point == 0)

    if not any(map(must_change, form.modules())):
        return form
    form = copy.deepcopy(form)
    for layer in quantized_layers(form).values():
        for quantizer in filter(must_change, layer.input_quantizers):
            if isinstance(layer, QuantizedLinear):
                quantizer.shifted = True
            else:
                quantizer.make_symmetric()
    return form


def frozen(form: nn.Module) -> nn.Module:
    """Return a copy of a quantized form for an export: its weights are packed into integers."""
    form = copy.deepcopy(form)
    for part in form.modules():
        if isinstance(part, RecurrentOperator):
            part.update_onnx_weights()
    for layer in quantized_layers(form).values():
        for quantizer in layer.input_quantizers:
            if isinstance(quantizer, ActivationQuantizer):
                quantizer.freeze()
        layer.pack()
        if layer.packed:
            layer.weight = None
    return form


def in_fp32(form: nn.Module) -> nn.Module:
    """Return a copy of a quantized form that computes in fp32, with the same layers."""
    form = copy.deepcopy(form)
    for part in form.modules():
        if isinstance(part, QuantizedLayer):
            part.enabled = False
        elif isinstance(part, HalfPrecisionLayer):
            part.to(torch.float32)
    return form


def stored_bytes(module: nn.Module) -> int:
    """Return the bytes that a network's parameters take in a bundle, with their scales."""
    state = {id(value) for value in module.state_dict(keep_vars=True).values()}
    tensors = [*module.parameters(), *(b for b in _buffers(module) if id(b) in state)]
    sizes = {id(value): value.nbytes for value in tensors}
    for layer in quantized_layers(module).values():
        if not layer.weight_quantizer:
            continue
        bits, group = layer.weight_quantizer.bits, layer.weight_quantizer.group
        for value in layer.parameters(recurse=isinstance(layer, RecurrentOperator)):
            if value.dim() > 1:
                scales = value.numel() // group if group else len(value)
                sizes[id(value)] = -(-value.numel() * bits // 8) + 4 * scales
    return sum(sizes.values())


def _buffers(module: nn.Module) -> Iterator[Tensor]:
    """Yield the buffers of a network without those of its quantizers."""
    for part in module.modules():
        if not isinstance(part, (ActivationQuantizer, DynamicActivationQuantizer, WeightQuantizer)):
            yield from part.buffers(recurse=False)
