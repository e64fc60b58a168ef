"""Fold batch norms into the layers before them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


def fold_batch_norms(module: nn.Module, pairs: Sequence[tuple[str, str]] = ()) -> nn.Module:
    """Return a copy in which batch norms are folded into the convolutions and linears before them.

    A layer that is no plain one any more, or that shares its weights, is left as it is.

    Args:
        module: a network in evaluation mode.
        pairs: names that a layer and its batch norm have where they are attributes; those next to
            each other in a Sequential are found.
    """
    form = copy.deepcopy(module).eval()
    uses = Counter(
        id(value)
        for _, layer in form.named_modules(remove_duplicate=False)
        for value in layer.parameters(recurse=False)
    )
    for parent in list(form.modules()):
        children = dict(parent.named_children())
        known = [pair for pair in pairs if set(pair) <= children.keys()]
        if isinstance(parent, nn.Sequential):
            known = list(pairwise(children))
        for name, norm in known:
            fused = _fused(children[name], children[norm], uses)
            if fused is not None:
                setattr(parent, name, fused)
                setattr(parent, norm, nn.Identity())
    return form


def _fused(layer: nn.Module, norm: nn.Module, uses: Counter[int]) -> nn.Module | None:
    kinds = (nn.Linear, nn.Conv2d)
    if type(layer) not in kinds or not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return None
    if uses[id(layer.weight)] > 1 or uses[id(norm.weight)] > 1:
        return None
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm)
    return fuse_linear_bn_eval(layer, norm)  # type: ignore[type-var]
