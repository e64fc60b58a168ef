"""What techniques that set weights to zero have in common: which weights, and how they stay."""

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

WEIGHTED = (nn.Linear, _ConvNd, nn.RNNBase, nn.MultiheadAttention)
_RAMP = 0.75
_UPDATES = 100

Weights = dict[str, nn.Parameter]


def check_ratio(ratio: float) -> None:
    """Refuse a share that leaves all weights, or none.

    Raises:
        SettingError: the ratio lies outside (0, 1).
    """
    if not 0 < ratio < 1:
        raise SettingError(f"ratio is {ratio}; it must lie between 0 and 1, both excluded")


def weights_of(
    model: Model, patterns: tuple[str, ...], kinds: tuple[type[nn.Module], ...] = WEIGHTED
) -> Weights:
    """Return the matrices and filters of a model's layers by name; a shared one once.

    Embeddings and outputs are left alone unless a pattern names them: a zero in a row that is
    looked up saves no work, and few outputs have few weights to spare. Norms and biases never
    count.

    Args:
        model: as it stands.
        patterns: names (fnmatch) of layers; all but embeddings and outputs when empty.
        kinds: of layers.

    Raises:
        UnknownError: a pattern matches no layer.
        UsageError: there is no such layer at all, or what a pattern names has no weights to prune.
    """
    wanted = (*kinds, nn.Embedding) if kinds == WEIGHTED else kinds
    layers = {
        path: [
            value
            for name, value in layer.named_parameters(recurse=False)
            if "weight" in name and value.ndim > 1
        ]
        for path, layer in model.module.named_modules(remove_duplicate=False)
        if isinstance(layer, wanted)
    }
    plain = {path for path, own in layers.items() if own}
    for pattern in patterns:
        if not any(fnmatch(path, pattern) for path in layers):
            raise unknown("layer", pattern, plain)
        if not any(fnmatch(path, pattern) for path in plain):
            raise UsageError(
                f"{pattern!r} has no plain weights, but a codebook, say; prune first, then share"
            )
    left_alone = set() if patterns else _identities(model)
    chosen = {
        id(value)
        for path, own in layers.items()
        if not patterns or any(fnmatch(path, pattern) for pattern in patterns)
        for value in own
    } - left_alone
    found = {name: value for name, value in model.module.named_parameters() if id(value) in chosen}
    if not found:
        raise UsageError(
            "there is nothing that this method prunes: beside embeddings and outputs the model "
            "has no such layer with plain weights (codebooks are none); --set layers=... names more"
        )
    return found


@torch.no_grad()
def lowest(values: Tensor, ratio: float) -> Tensor:
    """Mark the given share of the values, the lowest ones: bool, of the same shape."""
    marked = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    count = round(ratio * values.numel())
    marked[values.flatten().topk(count, largest=False, sorted=False).indices] = True
    return marked.view(values.shape)


def refuse_empty(weights: Mapping[str, Tensor], marked: Mapping[str, Tensor]) -> None:
    """Refuse to leave a layer without weights.

    Raises:
        SettingError: all weights of a parameter are marked.
    """
    for name, weight in weights.items():
        if marked[name].all() and weight.any():
            raise SettingError(
                f"all {weight.numel():,} weights of {name!r} would be zero: take a lower ratio, "
                "compare within each layer, or name other layers"
            )


@torch.no_grad()
def zero(weights: Mapping[str, Tensor], marked: Mapping[str, Tensor]) -> None:
    """Set marked weights to zero, in place."""
    for name, mask in marked.items():
        weights[name].masked_fill_(mask, 0.0)


def ratio_at(done: float, ratio: float, start: float = 0.0) -> float:
    """Return the share of zeros that a gradual run has at a point of it.

    It rises as a cubic, fast at first while there is much to spare, in at most 100 stairs; the last
    quarter of the run trains what is left.

    Args:
        done: share of the run's steps, 0 to 1.
        ratio: share of zeros at the end.
        start: share of the run before the first zero.

    Source: Zhu and Gupta 2017, "To Prune, or Not to Prune", section 3.
    """
    stair = int(done * _UPDATES) / _UPDATES
    risen = min(max((stair - start) / (_RAMP - start), 0.0), 1.0)
    return ratio * (1 - (1 - risen) ** 3)


def record_of(weights: Weights) -> Record:
    """Return which parameters hold how large a share of zeros, and say it of all of them."""
    total = sum(value.numel() for value in weights.values())
    zeros = total - sum(int(value.count_nonzero()) for value in weights.values())
    console.note(f"{zeros / total:.1%} of {total:,} weights are zero, in {len(weights)} parameters")
    return {"parameters": {name: round(share_of(value), 6) for name, value in weights.items()}}


def share_of(weight: Tensor) -> float:
    """Return the share of zeros."""
    return 1 - int(weight.count_nonzero()) / weight.numel()


def check_record(model: Model, record: Record) -> None:
    """Zeros are weights and change no shape: see only that the record speaks of this model.

    Raises:
        ArtifactError: the record is malformed, or names a parameter that is not there.
    """
    shares = record.get("parameters")
    if not isinstance(shares, dict):
        raise ArtifactError("a record of zeros lacks its parameters")
    there = dict(model.module.named_parameters(remove_duplicate=False))
    for name, share in shares.items():
        if name not in there:
            raise ArtifactError(
                f"the model has no parameter {name!r:.80}, of which {share!r:.40} are zero"
            )


def held(record: Record) -> AfterStep:
    """Return what keeps recorded parameters' zeros through training.

    The zeros are those of the weights when training starts or goes on, so that whatever a later
    step cut away or put into a layer's place is followed. Where a later step gave the weights other
    names, as an inference form does, all zeros of weights are held.
    """
    masks: dict[str, Tensor] | None = None

    def after_step(module: nn.Module, done: float) -> None:
        nonlocal masks
        there = dict(module.named_parameters(remove_duplicate=False))
        if masks is None:
            names = {_there(name, there) for name in record["parameters"]}
            if not names <= there.keys():
                names |= {name for name, value in there.items() if value.dim() > 1}
            masks = {name: there[name].detach() == 0 for name in names if name in there}
        zero(there, masks)

    return after_step


def _there(name: str, there: Mapping[str, Tensor]) -> str:
    """Return the name that a parameter has now; a parametrised one stands behind its layer's."""
    layer, _, leaf = name.rpartition(".")
    return name if name in there else f"{layer}.parametrizations.{leaf}.original"


def _identities(model: Model) -> set[int]:
    """Return the parameters of embeddings and outputs, also where a layer shares them."""
    parts = families.network(model.family).parts(model.module)
    left = (*parts.outputs, *parts.embeddings)
    return {
        id(value)
        for name, value in model.module.named_parameters(remove_duplicate=False)
        if any(name.startswith(f"{path}.") for path in left)
    }
