"""Which weights the methods that set weights to zero prune, and how zeros stay zero in training."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from bmc import console
from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, UsageError, unknown
from bmc.model import AfterStep, Model, Record

PRUNABLE = (nn.Linear, _ConvNd, nn.RNNBase, nn.MultiheadAttention)
_RAMP_END = 0.75  # share of the run
_UPDATES = 100  # of the share of zeros in a run

Weights = dict[str, nn.Parameter]


def check_ratio(ratio: float) -> None:
    """Check that a ratio prunes some weights, but not all.

    Raises:
        SettingError: the ratio is outside (0, 1).
    """
    if not 0 < ratio < 1:
        raise SettingError(f"ratio is {ratio}; it must lie between 0 and 1, both excluded")


def weights_of(
    model: Model, patterns: tuple[str, ...], kinds: tuple[type[nn.Module], ...] = PRUNABLE
) -> Weights:
    """Return the weight matrices and filters to prune by name, each shared weight once.

    Embeddings and outputs are not pruned unless a pattern names them: a zero in a row that is
    looked up saves no work, and an output layer has few weights to spare. Norms and biases are
    never pruned.

    Args:
        model: any model.
        patterns: names (fnmatch patterns) of layers; all but embeddings and outputs when empty.
        kinds: classes of the layers that the method prunes.

    Raises:
        UnknownError: a pattern matches no layer.
        UsageError: the model has no such layer, or the layers that a pattern names have no weights
            to prune.
    """
    classes = (*kinds, nn.Embedding) if kinds == PRUNABLE else kinds
    layers = {
        path: [
            value
            for name, value in layer.named_parameters(recurse=False)
            if "weight" in name and value.ndim > 1
        ]
        for path, layer in model.module.named_modules(remove_duplicate=False)
        if isinstance(layer, classes)
    }
    prunable = {path for path, weights in layers.items() if weights}
    for pattern in patterns:
        if not any(fnmatch(path, pattern) for path in layers):
            raise unknown("layer", pattern, prunable)
        if not any(fnmatch(path, pattern) for path in prunable):
            raise UsageError(
                f"the layers {pattern!r} have no weights to prune; if an earlier step replaced "
                "them by a codebook, prune before that step"
            )
    excluded = set() if patterns else _excluded_ids(model)
    chosen = {
        id(value)
        for path, weights in layers.items()
        if not patterns or any(fnmatch(path, pattern) for pattern in patterns)
        for value in weights
    } - excluded
    pruned = {name: value for name, value in model.module.named_parameters() if id(value) in chosen}
    if not pruned:
        raise UsageError(
            "there is nothing that this method prunes: apart from embeddings and outputs, no layer "
            "has weights to prune (layers with a codebook have none); --set layers=... names "
            "other layers"
        )
    return pruned


@torch.no_grad()
def lowest(values: Tensor, ratio: float) -> Tensor:
    """Return a mask of the lowest values, bool, of the same shape.

    Args:
        values: values of any shape.
        ratio: share of the values to mask, in [0, 1].
    """
    mask = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    count = round(ratio * values.numel())
    mask[values.flatten().topk(count, largest=False, sorted=False).indices] = True
    return mask.view(values.shape)


def refuse_empty(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Check that every layer keeps at least one weight.

    Args:
        weights: parameters by name.
        masks: masks by name, True where a weight would become zero.

    Raises:
        SettingError: all weights of a parameter would become zero.
    """
    for name, weight in weights.items():
        if masks[name].all() and weight.any():
            raise SettingError(
                f"all {weight.numel():,} weights of {name!r} would become zero: take a lower "
                "ratio, compare weights within each layer (scope=layer), or name other layers"
            )


@torch.no_grad()
def zero(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Set weights to zero where a mask is True, in place."""
    for name, mask in masks.items():
        weights[name].masked_fill_(mask, 0.0)


def ratio_at(done: float, ratio: float, start: float = 0.0) -> float:
    """Return the share of zeros after a part of a gradual run.

    The share rises along a cubic curve, in at most 100 updates. In the last quarter of the run it
    is constant, and the remaining weights are trained.

    Args:
        done: share of the run's steps that are done, in [0, 1].
        ratio: share of zeros at the end.
        start: share of the run before the first zero.

    Source: Zhu and Gupta 2017, "To Prune, or Not to Prune", section 3.
    """
    step = int(done * _UPDATES) / _UPDATES
    progress = min(max((step - start) / (_RAMP_END - start), 0.0), 1.0)
    return ratio * (1 - (1 - progress) ** 3)


def record_of(weights: Weights) -> Record:
    """Return the share of zeros of each parameter as a record, and print the total share."""
    total = sum(value.numel() for value in weights.values())
    zeros = total - sum(int(value.count_nonzero()) for value in weights.values())
    console.note(f"{zeros / total:.1%} of {total:,} weights are zero, in {len(weights)} parameters")
    return {"parameters": {name: round(share_of(value), 6) for name, value in weights.items()}}


def share_of(weight: Tensor) -> float:
    """Return the share of a weight's values that are zero."""
    return 1 - int(weight.count_nonzero()) / weight.numel()


def check_record(model: Model, record: Record) -> None:
    """Check that a record fits a model; zeros change no shape, so nothing is rebuilt.

    Raises:
        ArtifactError: the record is malformed, or names a parameter that the model does not have.
    """
    shares = record.get("parameters")
    if not isinstance(shares, dict):
        raise ArtifactError("the record of a pruning step lacks 'parameters', the shares of zeros")
    parameters = dict(model.module.named_parameters(remove_duplicate=False))
    for name, share in shares.items():
        if name not in parameters:
            raise ArtifactError(
                f"the record gives {name!r:.80} a share of zeros ({share!r:.40}), but the model "
                "has no such parameter"
            )


def keep_zeros(record: Record) -> AfterStep:
    """Return a function that keeps the zeros of recorded parameters in training.

    The function reads which weights are zero when training starts or resumes, since a later step
    may have removed or replaced layers. Where a later step renamed the weights, as an inference
    form does, the zeros of all weights are kept.
    """
    masks: dict[str, Tensor] | None = None

    def after_step(module: nn.Module, done: float) -> None:
        nonlocal masks
        parameters = dict(module.named_parameters(remove_duplicate=False))
        if masks is None:
            names = {_current_name(name, parameters) for name in record["parameters"]}
            if not names <= parameters.keys():
                names |= {name for name, value in parameters.items() if value.dim() > 1}
            names &= parameters.keys()
            masks = {name: parameters[name].detach() == 0 for name in names}
        zero(parameters, masks)

    return after_step


def _current_name(name: str, parameters: Mapping[str, Tensor]) -> str:
    """Return the current name of a parameter, which a parametrization changes."""
    layer, _, leaf = name.rpartition(".")
    return name if name in parameters else f"{layer}.parametrizations.{leaf}.original"


def _excluded_ids(model: Model) -> set[int]:
    """Return the ids of the parameters of embeddings and outputs, including shared ones."""
    parts = families.network(model.family).parts(model.module)
    tables = (
        path
        for path, layer in model.module.named_modules(remove_duplicate=False)
        if isinstance(layer, nn.Embedding)  # those of a wrapped network are no parts
    )
    paths = (*parts.outputs, *parts.embeddings, *tables)
    return {
        id(value)
        for name, value in model.module.named_parameters(remove_duplicate=False)
        if any(name.startswith(f"{path}.") for path in paths)
    }
