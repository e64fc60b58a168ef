"""Weights that training derives from others become plain weights."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

_DERIVED = (WeightNorm, SpectralNorm, prune.BasePruningMethod)


def fold_parametrizations(module: nn.Module) -> list[str]:
    """Turn what training derives weights from into those weights, in place; return the layers.

    That is weight norm, spectral norm, any parametrization that is not bmc's own, and the masks of
    torch's pruning.
    """
    folded = []
    training = module.training
    module.eval()
    for path, layer in list(module.named_modules()):
        names = _parametrized(layer)
        for name in names:
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
        hooks = [hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, _DERIVED)]
        for hook in hooks:
            _remove(layer, hook)
        if names or hooks:
            folded.append(path)
    module.train(training)
    return folded


def _parametrized(layer: nn.Module) -> list[str]:
    """Return the names of a layer's parametrized weights; movement pruning has some of its own."""
    if not parametrize.is_parametrized(layer):
        return []
    every: Any = layer.parametrizations
    return [
        name
        for name, steps in every.items()
        if not any(type(step).__module__.startswith("bmc.") for step in steps)
    ]


def _of_spectral_norm(hook: Any) -> bool:
    return isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook)


def _remove(layer: nn.Module, hook: Any) -> None:
    if isinstance(hook, WeightNorm):
        remove_weight_norm(layer, hook.name)
    elif isinstance(hook, SpectralNorm):
        remove_spectral_norm(layer, hook.name)
        loading = layer._load_state_dict_pre_hooks  # PyTorch wraps its hook, and leaves it there
        for key in [key for key, one in loading.items() if _of_spectral_norm(one)]:
            del loading[key]
    else:
        prune.remove(layer, hook._tensor_name)  # type: ignore[no-untyped-call]
