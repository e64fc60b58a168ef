"""A small BERT cut out of a larger one: layers copied, the stream between them narrowed.

What layers read and write, the residual stream, is projected on its principal components, and each
linear layer with it. Heads and hidden units that write least are left out. A layer norm does not
commute with a projection, so its gain and bias are fitted to what the projected one should be.

Source: Ashkboos et al. 2024, "SliceGPT" (rotation of the residual stream); Fan et al. 2021, "Layer-
wise Model Pruning based on Mutual Information"; Sun et al. 2019, "Patient Knowledge Distillation"
(layers copied).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from bmc.models.sentences import makes_vectors

_LEAST = 1e-6


@dataclass
class _Norm:
    """Inputs and outputs of one layer norm, (tokens, width)."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def read(self) -> Tensor:
        """Return all inputs of the norm."""
        return torch.cat(self.inputs)

    def written(self) -> Tensor:
        """Return all outputs of the norm."""
        return torch.cat(self.outputs)


@dataclass
class _Observed:
    """What a network computed on some texts.

    Args:
        norms: inputs and outputs of each layer norm, by its path.
        squares: sum of the squares and products of what each output layer reads, by its path:
            (units, units).
    """

    norms: dict[str, _Norm] = field(default_factory=dict)
    squares: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def cut_from(
    source: Any,
    student: Any,
    layers: Sequence[int],
    batches: Iterable[Mapping[str, Tensor]],
) -> None:
    """Give a student the part of a larger BERT that matters most on some texts.

    Args:
        source: a live BertForSequenceClassification or BertForTokenClassification of plain layers;
            it is not changed.
        student: a new BERT that is no wider, with heads of the same size; changed in place.
        layers: indices of the source's layers that become the student's, in order.
        batches: inputs to measure on.
    """
    observed = _observe(source, layers, batches)
    basis = _basis(observed, student.config.hidden_size)
    old, new = source.bert, student.bert
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        rows, table = getattr(new.embeddings, name).weight, getattr(old.embeddings, name).weight
        rows.copy_(table[: len(rows)] @ basis)
    _fit_norm(new.embeddings.LayerNorm, observed.norms["embeddings.LayerNorm"], basis)
    for position, index in enumerate(layers):
        _cut_layer(old.encoder.layer[index], new.encoder.layer[position], basis, index, observed)
    if makes_vectors(source):
        return
    if new.pooler is not None:
        new.pooler.dense.weight.copy_(basis.T @ old.pooler.dense.weight @ basis)
        new.pooler.dense.bias.copy_(basis.T @ old.pooler.dense.bias)
    student.classifier.weight.copy_(source.classifier.weight @ basis)
    student.classifier.bias.copy_(source.classifier.bias)


def _reads_every_token(source: Any) -> bool:
    """Tell whether vectors or tags are computed from all tokens, not from [CLS] alone."""
    return makes_vectors(source) or source.bert.pooler is None


def _observe(
    source: Any, layers: Sequence[int], batches: Iterable[Mapping[str, Tensor]]
) -> _Observed:
    """Run a network and keep what its norms and output layers saw.

    Of the last layer it is [CLS] alone where a pooler reads no other token.
    """
    observed, rows = _Observed(), list[Tensor]()  # rows: of the batch under way
    hooks = []

    def norm(path: str, last: bool) -> Callable[..., None]:
        norm_inputs = observed.norms.setdefault(path, _Norm())

        def keep(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            norm_inputs.inputs.append(_tokens(inputs[0], rows[-1], last))
            norm_inputs.outputs.append(_tokens(output, rows[-1], last))

        return keep

    def reader(path: str, last: bool) -> Callable[..., None]:
        def add(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            read = _tokens(inputs[0], rows[-1], last)
            observed.squares[path] = observed.squares.get(path, 0) + read.T @ read

        return add

    bert = source.bert
    path = "embeddings.LayerNorm"
    hooks.append(bert.embeddings.LayerNorm.register_forward_hook(norm(path, last=False)))
    for index in layers:
        for path in (f"encoder.layer.{index}.attention.output", f"encoder.layer.{index}.output"):
            last = index == layers[-1] and not _reads_every_token(source)
            part = bert.get_submodule(path)
            hooks.append(part.LayerNorm.register_forward_hook(norm(f"{path}.LayerNorm", last)))
            hooks.append(part.dense.register_forward_hook(reader(f"{path}.dense", last)))
    training = source.training
    source.eval()
    try:
        for inputs in batches:
            rows.append(inputs["attention_mask"].bool())
            source(**inputs)
    finally:
        source.train(training)
        for hook in hooks:
            hook.remove()
    return observed


def _tokens(hidden: Tensor, token_mask: Tensor, first: bool) -> Tensor:
    """Return the vectors of a batch's tokens (tokens, width): of all tokens, or of the first."""
    return hidden[:, 0] if first else hidden[token_mask]


def _basis(observed: _Observed, width: int) -> Tensor:
    """Return the axes (old width, width) that keep most of the norms' outputs, equally weighted.

    The student's norms subtract the mean over its axes. The axes are rotated so that this mean is
    always 0, which takes one axis.
    """
    covariance = torch.zeros((), dtype=torch.double)
    for each in observed.norms.values():
        written = each.written().double()
        products = written.T @ written
        covariance = covariance + products / products.trace()
    vectors = torch.linalg.eigh(covariance).eigenvectors.flip(1)
    if width == len(vectors):
        return torch.eye(width)
    ones = torch.ones(width, 1, dtype=torch.double)
    turn = torch.linalg.qr(torch.cat([ones, torch.eye(width, width - 1).double()], 1)).Q[:, 1:]
    basis: Tensor = vectors[:, : width - 1] @ turn.T
    return basis.float()


def _fit_norm(norm: Any, norm_inputs: _Norm, basis: Tensor) -> None:
    """Fit a norm's gain and bias on projected inputs to the projected outputs of the old norm."""
    normal = layer_norm(norm_inputs.read() @ basis, (basis.shape[1],), eps=norm.eps)
    target = norm_inputs.written() @ basis
    centred = normal - normal.mean(0)
    gain = (centred * (target - target.mean(0))).mean(0) / centred.pow(2).mean(0).clamp(min=_LEAST)
    norm.weight.copy_(gain)
    norm.bias.copy_(target.mean(0) - gain * normal.mean(0))


def _cut_layer(old: Any, new: Any, basis: Tensor, index: int, observed: _Observed) -> None:
    """Copy the best heads and hidden units of a layer, with all that they read and write."""
    path = f"encoder.layer.{index}"
    inner, heads = old.attention.self, int(new.attention.self.num_attention_heads)
    size = int(inner.attention_head_size)
    project, narrow = old.attention.output.dense, old.output.dense
    energy = _energy(project.weight, observed.squares[f"{path}.attention.output.dense"], size)
    best = energy.argsort(descending=True)[:heads].sort().values
    units = (best[:, None] * size + torch.arange(size)).flatten()
    for name in ("query", "key", "value"):
        linear, fresh = getattr(inner, name), getattr(new.attention.self, name)
        fresh.weight.copy_(linear.weight[units] @ basis)
        fresh.bias.copy_(linear.bias[units])
    _narrow(project, new.attention.output.dense, units, basis)
    _fit_norm(
        new.attention.output.LayerNorm, observed.norms[f"{path}.attention.output.LayerNorm"], basis
    )
    energy = _energy(narrow.weight, observed.squares[f"{path}.output.dense"], 1)
    units = energy.argsort(descending=True)[: new.intermediate.dense.out_features].sort().values
    new.intermediate.dense.weight.copy_(old.intermediate.dense.weight[units] @ basis)
    new.intermediate.dense.bias.copy_(old.intermediate.dense.bias[units])
    _narrow(narrow, new.output.dense, units, basis)
    _fit_norm(new.output.LayerNorm, observed.norms[f"{path}.output.LayerNorm"], basis)


def _narrow(old: Any, new: Any, units: Tensor, basis: Tensor) -> None:
    """Copy a layer that writes to the stream, for some of the units that it reads."""
    new.weight.copy_(basis.T @ old.weight[:, units])
    new.bias.copy_(basis.T @ old.bias)


def _energy(weight: Tensor, squares: Tensor, size: int) -> Tensor:
    """Return the mean square of what each group of units adds to the stream.

    Args:
        weight: (width, units) of the layer that adds it.
        squares: sum of the products of the layer's inputs, (units, units).
        size: units of a group.
    """
    within = torch.kron(torch.eye(weight.shape[1] // size), torch.ones(size, size))
    added = (weight @ (squares * within)) * weight  # summed, the trace of W S W^T of each group
    return added.sum(0).view(-1, size).sum(1)
