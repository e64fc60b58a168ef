"""Fold batch norms into the preceding layers, and the limit of an embedding into its rows."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


def fold_batch_norms(module: nn.Module, pairs: Sequence[tuple[str, str]] = ()) -> nn.Module:
    """Return a copy whose batch norms are folded into the preceding convolution or linear layer.

    Only a layer of class `nn.Linear` or `nn.Conv2d` that shares no weights is folded.

    Args:
        module: a network in evaluation mode.
        pairs: attribute names of layers and their batch norms. Neighbors in an `nn.Sequential`
            need no entry.
    """
    form = copy.deepcopy(module).eval()
    uses = Counter(
        id(value)
        for _, layer in form.named_modules(remove_duplicate=False)
        for value in layer.parameters(recurse=False)
    )
    for parent in list(form.modules()):
        children = dict(parent.named_children())
        candidates = [pair for pair in pairs if set(pair) <= children.keys()]
        if isinstance(parent, nn.Sequential):
            candidates = list(pairwise(children))
        for name, norm in candidates:
            fused = _fused(children[name], children[norm], uses)
            if fused is not None:
                setattr(parent, name, fused)
                setattr(parent, norm, nn.Identity())
    return form


@torch.no_grad()
def fold_max_norm(module: nn.Module) -> None:
    """Scale the rows of embeddings to their `max_norm` in place, and drop the limit.

    PyTorch scales a row each time that it is looked up; what replaces an embedding does not.

    Args:
        module: an embedding, or a network that may have some.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
            every_row = torch.arange(layer.num_embeddings, device=layer.weight.device)
            torch.embedding_renorm_(
                layer.weight.detach(), every_row, layer.max_norm, layer.norm_type
            )
            layer.max_norm = None


def _fused(layer: nn.Module, norm: nn.Module, uses: Counter[int]) -> nn.Module | None:
    kinds = (nn.Linear, nn.Conv2d)
    if type(layer) not in kinds or not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return None
    if uses[id(layer.weight)] > 1 or uses[id(norm.weight)] > 1:
        return None
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm)
    return fuse_linear_bn_eval(layer, norm)  # type: ignore[type-var]
