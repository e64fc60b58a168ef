"""From a model to its quantized inference form, and from there to what is exported."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from bmc import console
from bmc.compress._modules import read_directly
from bmc.compress.quantize import _layers as layers
from bmc.compress.quantize._layers import Narrowed, Quantized
from bmc.compress.quantize._points import DynamicPoint, FittedGrid, Grid, LearnedPoint, Point
from bmc.contracts import families
from bmc.errors import ArtifactError, UsageError, unknown
from bmc.model import Model, Record, output_of
from bmc.models._attention import Slice, tied_in
from bmc.models._folding import Sum
from bmc.models._images import answering_linear
from bmc.models.recurrent import Exported

WEIGHTED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: layers.QuantizedLinear,
    nn.Conv2d: layers.QuantizedConv2d,
    nn.Embedding: layers.QuantizedEmbedding,
    Exported: layers.QuantizedRecurrent,
}
_PASSING: Mapping[type[nn.Module], type[nn.Module]] = {
    Sum: layers.QuantizedSum,
    nn.MaxPool2d: layers.QuantizedMaxPool2d,
    nn.AdaptiveAvgPool2d: layers.QuantizedAdaptiveAvgPool2d,
}
WEIGHTS_ALONE = (nn.Embedding, Exported)
"""Layers whose inputs stay in float: they read places, or what no operator takes in 8 bits."""
KINDS = {**WEIGHTED, **_PASSING}
_MARK = "is_quantized_form"
_INPUTS = {Sum: 2}
_INPUT_KINDS = ("float", "static", "learned", "dynamic")


def is_quantized(module: nn.Module) -> bool:
    """Tell whether a network is a quantized inference form, even if no layer of it is left so."""
    marked = getattr(module, _MARK, False)
    return marked or any(isinstance(part, (Quantized, Narrowed)) for part in module.modules())


def form_of(model: Model) -> nn.Module:
    """Return what is exported: the family's inference form, or the model itself.

    A quantized model is its inference form already.
    """
    family = families.network(model.family)
    if is_quantized(model.module) or family.inference_form is None:
        return model.module.eval()
    return family.inference_form(model).eval()


def become_form(model: Model) -> None:
    """Make a model its own inference form, whose layers can be quantized.

    Raises:
        UsageError: it is quantized already.
    """
    if is_quantized(model.module):
        raise UsageError(
            "the model is quantized already; quantize the one that it was made from, once"
        )
    form = form_of(model)
    model.module = copy.deepcopy(form) if form is model.module else form
    setattr(model.module, _MARK, True)
    # PyTorch's fused attention would read weights behind the back of the layers that hold them.
    torch.backends.mha.set_fastpath_enabled(False)
    for parameter in model.module.parameters():
        parameter.requires_grad = True


def rebuild(model: Model, record: Record) -> None:
    """Make a freshly built model its inference form, with the recorded layers quantized."""
    become_form(model)
    place(model.module, record)


def layers_of(form: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of an inference form that can be quantized, by path; a shared one once."""
    return {path: layer for path, layer in form.named_modules() if type(layer) in KINDS}


@torch.inference_mode()
def read_layers(model: Model) -> dict[str, nn.Module]:
    """Return those of them that a form calls: it may leave some out, or read their weights alone.

    Args:
        model: its own inference form.
    """
    called: set[int] = set()

    def hook(part: nn.Module, _: object) -> None:
        called.add(id(part.whole if isinstance(part, Slice) else part))

    found = layers_of(model.module)
    watched = [*found.values(), *(one for one in model.module.modules() if type(one) is Slice)]
    hooks = [part.register_forward_pre_hook(hook) for part in watched]
    arrays = model.encoder.probes(1)[0]
    output_of(model.module, {name: torch.from_numpy(array) for name, array in arrays.items()})
    for one in hooks:
        one.remove()
    read = {path: layer for path, layer in found.items() if id(layer) in called}
    if not getattr(model.module, "is_foreign", False):
        return read  # bmc's own forms read weights where they know how
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    direct = read_directly(model.module, inputs)
    for path in direct.keys() & read.keys():
        console.note(f"{path} stays in float: {direct[path]} reads its weight directly")
    return {path: layer for path, layer in read.items() if path not in direct}


def weighted(model: Model) -> dict[str, nn.Module]:
    """Return those of them that have a weight."""
    return {path: layer for path, layer in read_layers(model).items() if type(layer) in WEIGHTED}


def last_linear(form: nn.Module) -> str | None:
    """Return the path of what a regression's form answers with; None where it has no linear."""
    if getattr(form, "is_foreign", False):
        return answering_linear(form)
    found = [path for path, part in form.named_modules() if isinstance(part, nn.Linear)]
    return found[-1] if found else None


def chosen(found: Mapping[str, nn.Module], keep: tuple[str, ...]) -> dict[str, nn.Module]:
    """Return the layers that no pattern of `keep` names.

    Raises:
        UnknownError: a pattern matches no layer.
    """
    for pattern in keep:
        if not any(fnmatch(path, pattern) for path in found):
            raise unknown("layer that can be quantized", pattern, found)
    kept = {path for path in found for pattern in keep if fnmatch(path, pattern)}
    return {path: layer for path, layer in found.items() if path not in kept}


def alone(
    form: nn.Module, found: Mapping[str, nn.Module], kinds: Sequence[type] = (nn.Linear,)
) -> dict[str, Any]:
    """Return the layers of some kinds whose weight nothing but themselves uses."""
    tied = tied_in(form)
    holders = Counter(id(child) for part in form.modules() for child in part.children())
    return {
        path: layer
        for path, layer in found.items()
        if type(layer) in kinds and id(layer.weight) not in tied and holders[id(layer)] == 1
    }


def held_bytes(module: nn.Module) -> int:
    """Return the bytes that a network's parameters take in a bundle, with their scales."""
    kept = {id(value) for value in module.state_dict(keep_vars=True).values()}
    held = [*module.parameters(), *(one for one in _buffers(module) if id(one) in kept)]
    found = {id(value): value.nbytes for value in held}
    for layer in module.modules():
        if isinstance(layer, Quantized) and layer.grid:
            for value in layer.parameters(recurse=isinstance(layer, Exported)):
                if value.dim() > 1:
                    scales = value.numel() // layer.grid.group if layer.grid.group else len(value)
                    found[id(value)] = -(-value.numel() * layer.grid.bits // 8) + 4 * scales
    return sum(found.values())


def _buffers(module: nn.Module) -> Iterator[Tensor]:
    """Yield the buffers of a network, but for those that say how it is quantized."""
    for part in module.modules():
        if not isinstance(part, (Point, DynamicPoint, Grid)):
            yield from part.buffers(recurse=False)


def place(form: nn.Module, record: Record) -> None:
    """Quantize the layers of an inference form that a record names, as it says, in place.

    Raises:
        ArtifactError: the record, which may come from a file, does not fit the form.
    """
    for path, own in record.items():
        layer: Any = form.get_submodule(path)
        if type(layer) not in KINDS:
            raise ArtifactError(f"{path} is a {type(layer).__name__}; it cannot be quantized")
        bits, group, inputs, divided, fitted = _checked(path, own)
        if bits == 4 and type(layer) not in (nn.Linear, nn.Embedding):
            raise ArtifactError(f"{path} cannot have weights of 4 bits")
        if group and layer.weight[0].numel() % group:
            raise ArtifactError(f"groups of {group} do not divide the rows of {path}")
        if fitted and (bits != 4 or divided):
            raise ArtifactError(f"{path} is recorded with fitted scales, which it cannot have")
        if inputs == "dynamic":
            if type(layer) is not nn.Linear:
                raise ArtifactError(f"{path} is no linear layer; its range cannot be dynamic")
            points: list[nn.Module] = [DynamicPoint()]
            kind: Any = layers.DynamicLinear
        else:
            point = {"static": Point, "learned": LearnedPoint}.get(inputs)
            count = _INPUTS.get(type(layer), 1) if point else 0
            points, kind = [point() for _ in range(count) if point], KINDS[type(layer)]
        linear = issubclass(kind, layers.QuantizedLinear)
        if divided and not linear:
            raise ArtifactError(f"{path} has no input channels that could be divided")
        layer.__class__ = kind  # it keeps its path, weights and sizes
        layer.points = nn.ModuleList(points)
        if linear:
            ones = torch.ones(layer.in_features) if divided else None
            layer.register_buffer("divided", ones)
        if fitted:
            count = layer.weight.numel() // (group or layer.weight[0].numel())
            layer.grid = FittedGrid(bits, group, count)
        else:
            layer.grid = Grid(bits, group) if bits else None
        layer.numbers = None


def learn(form: nn.Module) -> None:
    """Let training move the scales of a calibrated form's points, in place."""
    for layer in [part for part in form.modules() if isinstance(part, Quantized)]:
        for place, point in enumerate(layer.points):
            if type(point) is Point:
                learned = LearnedPoint()
                learned.scale.data.copy_(point.scale)
                learned.centred.copy_(point.centred)
                learned.unsigned.copy_(point.unsigned)
                learned.zero_point.copy_(point.zero_point)
                layer.points[place] = learned


def centred(form: nn.Module, keep_unsigned: bool) -> nn.Module:
    """Return a quantized form whose grids have 0 in the middle; itself where they have it.

    Linear layers keep their numbers: what they read is moved to where the middle is, and their
    biases take it back. The other layers' grids reach as far below 0 as above it.

    Args:
        form: it is not changed.
        keep_unsigned: grids that have 0 at their end stay so.
    """

    def is_off(point: nn.Module) -> TypeGuard[Point]:
        wide = isinstance(point, Point) and bool(point.unsigned)
        return wide and not (keep_unsigned and point.zero_point == 0)

    if not any(map(is_off, form.modules())):
        return form
    form = copy.deepcopy(form)
    for layer in [part for part in form.modules() if isinstance(part, Quantized)]:
        for point in filter(is_off, layer.points):
            if isinstance(layer, layers.QuantizedLinear):
                point.shifted = True
            else:
                point.centre()
    return form


def frozen(form: nn.Module) -> nn.Module:
    """Return a copy of a quantized form for export: its weights are whole numbers."""
    form = copy.deepcopy(form)
    for part in form.modules():
        if isinstance(part, Exported):
            part.prepare()
    every: list[Any] = [part for part in form.modules() if isinstance(part, Quantized)]
    for layer in every:
        for point in layer.points:
            if isinstance(point, Point):
                point.hold()
        layer.hold()
        if layer.numbers:
            layer.weight = None
    return form


def _checked(path: str, own: Any) -> tuple[int, int, str, bool, bool]:
    """Return a weight's bits (0: float) and group, how inputs are quantized, and the two marks.

    These say that input channels are divided, and that scales are fitted.
    """
    keys, marks = {"bits", "group", "inputs"}, {"divided", "fitted"}
    fits = isinstance(own, dict) and keys <= own.keys() <= keys | marks
    if fits and own["bits"] in (0, 4, 7, 8) and own["inputs"] in _INPUT_KINDS:
        group = own["group"]
        known = type(group) is int and group >= 0 and (own["bits"] == 4 or not group)
        if known and all(own.get(mark, True) is True for mark in marks):
            return int(own["bits"]), group, own["inputs"], "divided" in own, "fitted" in own
    raise ArtifactError(f"the quantization of {path!r:.60} is recorded as {own!r:.80}")
