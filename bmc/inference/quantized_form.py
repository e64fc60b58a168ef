"""Quantize an inference form as recorded, adapt the form to a target, freeze it for an export."""

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
        bits: bits of the weight: 4, 7 or 8; 0 for a weight in float, or no weight.
        group: number of values of a weight's row that share a scale; 0 for the whole row.
        inputs: "static", "learned" or "dynamic"; "float" where the inputs are not quantized.
        divided: whether outlying input channels are scaled down before they are quantized.
        fitted: whether the weight's scales are fitted and stored; otherwise they follow from the
            largest absolute values of the weight.
    """

    bits: int = 0
    group: int = 0
    inputs: str = "float"
    divided: bool = False
    fitted: bool = False

    def to_json(self) -> Record:
        """Return the entry as a JSON object, without marks that are False."""
        marks = {name: True for name in ("divided", "fitted") if getattr(self, name)}
        return {"bits": self.bits, "group": self.group, "inputs": self.inputs, **marks}

    @classmethod
    def from_json(cls, path: str, entry: Any) -> LayerQuantization:
        """Parse an entry of a record.

        Args:
            path: path of the layer, for messages.
            entry: the entry; it may come from a file, and is checked.

        Raises:
            ArtifactError: the entry is malformed.
        """
        keys, marks = {"bits", "group", "inputs"}, {"divided", "fitted"}
        has_keys = isinstance(entry, dict) and keys <= entry.keys() <= keys | marks
        if has_keys and entry["bits"] in (0, 4, 7, 8) and entry["inputs"] in ("float", *_INPUTS):
            group = entry["group"]
            fits = type(group) is int and group >= 0 and (entry["bits"] == 4 or not group)
            if fits and all(entry.get(mark, True) is True for mark in marks):
                bits, inputs = int(entry["bits"]), entry["inputs"]
                return cls(bits, group, inputs, "divided" in entry, "fitted" in entry)
        raise ArtifactError(f"the quantization of {path!r:.60} is recorded as {entry!r:.80}")


def rebuild(model: Model, record: Record) -> None:
    """Replace a newly built model's module by its inference form, quantized as recorded."""
    become_inference_form(model)
    quantize_layers(model.module, record)


def quantize_layers(form: nn.Module, record: Record) -> None:
    """Replace the layers that a record names by quantized layers, in place.

    Args:
        form: an inference form.
        record: entries by path, see `LayerQuantization`; it may come from a file, and is checked.

    Raises:
        ArtifactError: the record does not fit the form.
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
        raise ArtifactError(f"the rows of {path} are not divisible by groups of {settings.group}")
    if settings.fitted and (settings.bits != 4 or settings.divided):
        raise ArtifactError(f"{path} is recorded with fitted scales, which it cannot have")
    if settings.inputs == "dynamic" and type(layer) is not nn.Linear:
        raise ArtifactError(f"{path} is not a linear layer; its range cannot be dynamic")
    if settings.divided and type(layer) is not nn.Linear:
        raise ArtifactError(f"{path} has no input channels that could be scaled")


def _quantized(layer: Any, settings: LayerQuantization) -> nn.Module:
    """Return the quantized layer that replaces a plain layer; both hold the same weights."""
    kind: Any = QUANTIZABLE[type(layer)]
    if settings.inputs == "dynamic":
        kind = DynamicQuantizedLinear
    quantized = rebuilt_as(kind, layer)
    inputs: list[nn.Module] = []
    if settings.inputs != "float":
        input_count = 2 if type(layer) is Add else 1
        inputs = [_INPUTS[settings.inputs]() for _ in range(input_count)]
    weight: WeightQuantizer | None = None
    if settings.fitted:
        scale_count = layer.weight.numel() // (settings.group or layer.weight[0].numel())
        weight = FittedWeightQuantizer(settings.bits, settings.group, scale_count)
    elif settings.bits:
        weight = WeightQuantizer(settings.bits, settings.group)
    quantized.set_quantizers(inputs, weight, settings.divided)
    return quantized  # type: ignore[no-any-return]


def quantized_layers(form: nn.Module) -> dict[str, Any]:
    """Return the quantized layers of a form, by path."""
    return {path: part for path, part in form.named_modules() if isinstance(part, QuantizedLayer)}


def learn_scales(form: nn.Module) -> None:
    """Make the scales of a calibrated form's activation quantizers trainable, in place."""
    for layer in quantized_layers(form).values():
        for index, quantizer in enumerate(layer.input_quantizers):
            if type(quantizer) is ActivationQuantizer:
                learned = LearnedActivationQuantizer.starting_from(quantizer)
                layer.input_quantizers[index] = learned


def with_zero_point_0(form: nn.Module, keep_unsigned: bool) -> nn.Module:
    """Return a quantized form whose activations all have zero point 0.

    Linear layers keep their integers: the inputs are shifted, and the biases compensate for the
    shift. Other layers get symmetric scales.

    Args:
        form: the form, which is not changed; it is returned if no zero point has to change.
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
    """Return a copy of a quantized form for an export, with weights packed into integers."""
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
    """Return a copy of a quantized form whose layers compute in fp32."""
    form = copy.deepcopy(form)
    for part in form.modules():
        if isinstance(part, QuantizedLayer):
            part.enabled = False
            if isinstance(part, QuantizedLinear) and part.input_factors is not None:
                part.weight.data = part.unscaled_weight().detach()  # no product of the inputs
                part.divided = None
        elif isinstance(part, HalfPrecisionLayer):
            part.to(torch.float32)
    return form


def stored_bytes(module: nn.Module) -> int:
    """Return the size of a network's parameters and scales in a bundle, in bytes."""
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
                stored_bits = 4 if bits == 4 else 8
                sizes[id(value)] = -(-value.numel() * stored_bits // 8) + 4 * scales
    return sum(sizes.values())


def _buffers(module: nn.Module) -> Iterator[Tensor]:
    """Yield the buffers of a network, except the buffers of quantizers."""
    for part in module.modules():
        if not isinstance(part, (ActivationQuantizer, DynamicActivationQuantizer, WeightQuantizer)):
            yield from part.buffers(recurse=False)
