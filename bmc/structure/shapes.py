"""Sizes of layers: read them, tell which changed, and give a built model other ones.

What the steps that make layers thinner have in common. A size is JSON, such as
{"type": "Linear", "in": 384, "out": 96}; the type is what the layer is, and never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from bmc.errors import ArtifactError

Shape = dict[str, Any]
_KINDS: Mapping[str, Any] = {
    "Linear": nn.Linear,
    "Conv2d": nn.Conv2d,
    "BatchNorm1d": nn.BatchNorm1d,
    "BatchNorm2d": nn.BatchNorm2d,
    "LayerNorm": nn.LayerNorm,
    "Embedding": nn.Embedding,
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN": nn.RNN,
}
_SIZES: Mapping[str, Mapping[str, str]] = {  # what the record calls a layer's attributes
    "Linear": {"in": "in_features", "out": "out_features"},
    "Conv2d": {"in": "in_channels", "out": "out_channels", "groups": "groups"},
    "BatchNorm1d": {"features": "num_features"},
    "BatchNorm2d": {"features": "num_features"},
    "LayerNorm": {"features": "normalized_shape"},
    "Embedding": {"rows": "num_embeddings", "width": "embedding_dim"},
    "LSTM": {"in": "input_size", "hidden": "hidden_size"},
    "GRU": {"in": "input_size", "hidden": "hidden_size"},
    "RNN": {"in": "input_size", "hidden": "hidden_size"},
    "attention": {"heads": "heads"},
}
_HEADS = ("heads", "num_attention_heads", "n_heads")  # bmc, Hugging Face, its DistilBERT
_QUERIES = ("query", "q", "q_lin", "query_proj")
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_SIZED = ("weight", "bias", "running_")


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    """Return the size of each layer that `reshape` can change, by path; a shared one once."""
    shapes = {path: shape_of(layer) for path, layer in module.named_modules()}
    return {path: shape for path, shape in shapes.items() if shape is not None}


def shape_of(layer: nn.Module) -> Shape | None:
    """Return a layer's size; None where `reshape` could not change it.

    Recurrent layers are those of one layer and one direction; norms those over one axis.
    """
    kind = next((name for name, kind in _KINDS.items() if isinstance(layer, kind)), None)
    if kind is None:
        heads = _heads(layer)
        return None if heads is None else {"type": "attention", "heads": heads}
    if isinstance(layer, nn.RNNBase) and (
        layer.num_layers != 1 or layer.bidirectional or layer.proj_size
    ):
        return None
    if isinstance(layer, nn.LayerNorm):
        sizes = layer.normalized_shape
        return {"type": kind, "features": sizes[0]} if len(sizes) == 1 else None
    return {
        "type": kind,
        **{name: getattr(layer, attribute) for name, attribute in _SIZES[kind].items()},
    }


def changed(before: Mapping[str, Shape], after: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the layers of `after` whose size is not what it was."""
    return {path: shape for path, shape in after.items() if before.get(path) != shape}


def reshape(module: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Give layers other sizes, in place; what has another shape now is a new tensor of zeros.

    Stride, padding, presence of a bias, mode of training and tied parameters stay as they are.

    Args:
        module: the model, built.
        shapes: by path, as `shapes_of` gives them; they may come from a file.

    Raises:
        AttributeError: there is no such layer.
        ArtifactError: a size is malformed, of another kind of layer, or breaks a tie.
    """
    owners: dict[int, list[str]] = {}
    for path, layer in module.named_modules():
        for _, value in layer.named_parameters(recurse=False):
            owners.setdefault(id(value), []).append(path)
    tensors: dict[int, nn.Parameter] = {}
    layers = {path: module.get_submodule(path) for path in shapes}
    reshaped = {id(layer) for layer in layers.values()}
    for path, shape in shapes.items():
        layer = layers[path]
        _check(path, layer, shape)
        for name, value, sizes in _tensors(layer, shape):
            if tuple(value.shape) == sizes:
                continue
            if not isinstance(value, nn.Parameter):
                setattr(layer, name, value.new_zeros(sizes))
                continue
            alone = [
                owner for owner in owners.get(id(value), ()) if _outside(module, owner, reshaped)
            ]
            if alone:
                raise ArtifactError(f"{path}.{name} is also {alone[0]}'s, which keeps its size")
            fresh = nn.Parameter(value.new_zeros(sizes), requires_grad=value.requires_grad)
            fresh = tensors.setdefault(id(value), fresh)
            if tuple(fresh.shape) != sizes:
                raise ArtifactError(f"{path}.{name} is tied to a layer of another size")
            setattr(layer, name, fresh)
        _set_sizes(layer, shape)
    for path, shape in shapes.items():
        if shape["type"] == "attention":
            _check_heads(path, layers[path])


def _check_heads(path: str, layer: Any) -> None:
    """Refuse heads that do not share out what the layer's query projection makes."""
    query = next((getattr(layer, name) for name in _QUERIES if hasattr(layer, name)), None)
    if isinstance(query, nn.Sequential):  # a low-rank pair
        query = query[-1]
    heads, width = _heads(layer), getattr(query, "out_features", None)
    size = getattr(layer, "attention_head_size", None) or round(float(layer.scale) ** -2)
    if width is not None and heads is not None and heads * size != width:
        raise ArtifactError(f"{path} has {heads} heads of {size}, and a projection to {width}")


def _outside(module: nn.Module, path: str, reshaped: set[int]) -> bool:
    return id(module.get_submodule(path)) not in reshaped


def _heads(layer: nn.Module) -> int | None:
    """Return the heads of an attention module: bmc's own, or Hugging Face's."""
    for name in _HEADS:
        heads = getattr(layer, name, None)
        if type(heads) is int and (name == "heads" or hasattr(layer, "attention_head_size")):
            return heads
    return None


def _check(path: str, layer: nn.Module, shape: Shape) -> None:
    """Refuse a size that is none, or not of this layer."""
    current = shape_of(layer)
    if not isinstance(shape, dict) or current is None or current.keys() != shape.keys():
        raise ArtifactError(f"the size of layer {path} is {shape!r:.80}; it is {current} now")
    if shape["type"] != current["type"]:
        raise ArtifactError(f"layer {path} is no {shape['type']!r:.40}; it is {current['type']}")
    for name in _SIZES[current["type"]]:
        if type(shape[name]) is not int or not 1 <= shape[name] <= current[name]:
            raise ArtifactError(
                f"layer {path}: {name} is {shape[name]!r:.40}; it must lie in 1..{current[name]}"
            )
    groups = shape.get("groups", 1)
    if groups > 1 and (shape["in"] % groups or shape["out"] % groups):
        raise ArtifactError(f"layer {path}: {shape} does not divide by its groups")


def _tensors(layer: nn.Module, shape: Shape) -> Iterator[tuple[str, Tensor, tuple[int, ...]]]:
    """Yield a layer's own parameters and buffers, with the shapes that a size asks for."""
    kind = shape["type"]
    tensors = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    for name, value in tensors:
        if kind == "attention" or not name.startswith(_SIZED):
            continue
        if kind == "Linear":
            sizes: tuple[int, ...] = (shape["out"], shape["in"])
        elif kind == "Conv2d":
            sizes = (shape["out"], shape["in"] // shape["groups"], *value.shape[2:])
        elif kind == "Embedding":
            sizes = (shape["rows"], shape["width"])
        elif kind in _GATES:
            rows = _GATES[kind] * shape["hidden"]
            sizes = (rows, shape["hidden" if "_hh_" in name else "in"])
        else:
            sizes = (shape["features"],)
        yield name, value, sizes[: value.dim()]


def _set_sizes(layer: nn.Module, shape: Shape) -> None:
    """Tell a layer its new sizes."""
    if shape["type"] == "attention":
        name = next(name for name in _HEADS if hasattr(layer, name))
        setattr(layer, name, shape["heads"])
        if hasattr(layer, "all_head_size"):
            layer.all_head_size = shape["heads"] * int(layer.attention_head_size)  # type: ignore[arg-type]
    elif shape["type"] == "LayerNorm":
        setattr(layer, "normalized_shape", (shape["features"],))  # noqa: B010  no module, as typed
    else:
        for name, attribute in _SIZES[shape["type"]].items():
            setattr(layer, attribute, shape[name])
    if isinstance(layer, nn.RNNBase):
        layer.flatten_parameters()
