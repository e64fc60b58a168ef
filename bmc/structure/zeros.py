"""What pruning by zeros has in common: which weights are pruned, and how zeros stay zero."""

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
_RAMP = 0.75
_UPDATES = 100

Weights = dict[str, nn.Parameter]


def check_ratio(ratio: float) -> None:
    """Refuse a ratio that prunes nothing, or everything.

    Raises:
        SettingError: the ratio lies outside (0, 1).
    """
    if not 0 < ratio < 1:
        raise SettingError(f"ratio is {ratio}; it must lie between 0 and 1, both excluded")


def weights_of(
    model: Model, patterns: tuple[str, ...], kinds: tuple[type[nn.Module], ...] = PRUNABLE
) -> Weights:
    """Return the matrices and filters of a model's layers by name; a shared one once.

    Embeddings and outputs are not pruned unless a pattern names them: a zero in a row that is
    looked up saves no work, and an output layer has few weights to spare. Norms and biases never
    are.

    Args:
        model: any model.
        patterns: names (fnmatch patterns) of layers; all but embeddings and outputs when empty.
        kinds: classes of layers.

    Raises:
        UnknownError: a pattern matches no layer.
        UsageError: there is no such layer, or what a pattern names has no weights to prune.
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
    plain = {path for path, weights in layers.items() if weights}
    for pattern in patterns:
        if not any(fnmatch(path, pattern) for path in layers):
            raise unknown("layer", pattern, plain)
        if not any(fnmatch(path, pattern) for path in plain):
            raise UsageError(
                f"{pattern!r} has no plain weights, but a codebook, say; prune first, then share"
            )
    excluded = set() if patterns else _identities(model)
    chosen = {
        id(value)
        for path, weights in layers.items()
        if not patterns or any(fnmatch(path, pattern) for pattern in patterns)
        for value in weights
    } - excluded
    pruned = {name: value for name, value in model.module.named_parameters() if id(value) in chosen}
    if not pruned:
        raise UsageError(
            "there is nothing that this method prunes: beside embeddings and outputs the model "
            "has no such layer with plain weights (codebooks are none); --set layers=... names more"
        )
    return pruned


@torch.no_grad()
def lowest(values: Tensor, ratio: float) -> Tensor:
    """Return a mask of the lowest values, a given share of them: bool, of the same shape."""
    mask = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    count = round(ratio * values.numel())
    mask[values.flatten().topk(count, largest=False, sorted=False).indices] = True
    return mask.view(values.shape)


def refuse_empty(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Refuse to leave a layer without weights.

    Args:
        weights: by name.
        masks: True where a weight would become zero.

    Raises:
        SettingError: all weights of a parameter would become zero.
    """
    for name, weight in weights.items():
        if masks[name].all() and weight.any():
            raise SettingError(
                f"all {weight.numel():,} weights of {name!r} would be zero: take a lower ratio, "
                "compare within each layer, or name other layers"
            )


@torch.no_grad()
def zero(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Set weights to zero where a mask is True, in place."""
    for name, mask in masks.items():
        weights[name].masked_fill_(mask, 0.0)


def ratio_at(done: float, ratio: float, start: float = 0.0) -> float:
    """Return the share of zeros at a point of a gradual run.

    It rises as a cubic, in at most 100 steps; the last quarter of the run trains the rest.

    Args:
        done: share of the run's steps, 0 to 1.
        ratio: share of zeros at the end.
        start: share of the run before the first zero.

    Source: Zhu and Gupta 2017, "To Prune, or Not to Prune", section 3.
    """
    step = int(done * _UPDATES) / _UPDATES
    progress = min(max((step - start) / (_RAMP - start), 0.0), 1.0)
    return ratio * (1 - (1 - progress) ** 3)


def record_of(weights: Weights) -> Record:
    """Return the record: the share of zeros of each parameter. Note the share of all of them."""
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
        ArtifactError: the record is malformed, or names a parameter that is not there.
    """
    shares = record.get("parameters")
    if not isinstance(shares, dict):
        raise ArtifactError("a record of zeros lacks its parameters")
    parameters = dict(model.module.named_parameters(remove_duplicate=False))
    for name, share in shares.items():
        if name not in parameters:
            raise ArtifactError(
                f"the model has no parameter {name!r:.80}, of which {share!r:.40} are zero"
            )


def keep_zeros(record: Record) -> AfterStep:
    """Return a function that keeps the zeros of recorded parameters in training.

    The zeros are those of the weights when training starts or resumes, since a later step may have
    removed or replaced layers. Where a later step renamed the weights, as an inference form does,
    the zeros of all weights are kept.
    """
    masks: dict[str, Tensor] | None = None

    def after_step(module: nn.Module, done: float) -> None:
        nonlocal masks
        parameters = dict(module.named_parameters(remove_duplicate=False))
        if masks is None:
            names = {_current_name(name, parameters) for name in record["parameters"]}
            if not names <= parameters.keys():
                names |= {name for name, value in parameters.items() if value.dim() > 1}
            known = names & parameters.keys()
            masks = {name: parameters[name].detach() == 0 for name in known}
        zero(parameters, masks)

    return after_step


def _current_name(name: str, parameters: Mapping[str, Tensor]) -> str:
    """Return the name that a parameter has now: a parametrization changes it."""
    layer, _, leaf = name.rpartition(".")
    return name if name in parameters else f"{layer}.parametrizations.{leaf}.original"


def _identities(model: Model) -> set[int]:
    """Return the identities of the parameters of embeddings and outputs, shared ones too."""
    parts = families.network(model.family).parts(model.module)
    paths = (*parts.outputs, *parts.embeddings)
    return {
        id(value)
        for name, value in model.module.named_parameters(remove_duplicate=False)
        if any(name.startswith(f"{path}.") for path in paths)
    }
